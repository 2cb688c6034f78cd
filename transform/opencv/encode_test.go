package opencv

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// A sampling is the sampling factors of a JPEG's components, across and down.
type sampling [][2]int

// samplings are kinds that our own decoder knows, and at the end one that it does not.
var samplings = []sampling{
	{{1, 1}},
	{{2, 2}},
	{{1, 1}, {1, 1}, {1, 1}},
	{{2, 1}, {1, 1}, {1, 1}},
	{{2, 2}, {1, 1}, {1, 1}},
	{{1, 2}, {1, 1}, {1, 1}},
	{{2, 2}, {2, 1}, {1, 2}},
	{{1, 1}, {2, 2}, {2, 1}},
	{{2, 2}, {1, 2}, {1, 2}},
	{{4, 1}, {2, 1}, {2, 1}},
	{{4, 1}, {1, 1}, {1, 1}},
}

// A coded is a baseline JPEG that is made of coefficients instead of pixels.
type coded struct {
	w, h         int
	sampling     sampling
	quantization [64]byte
	interval     int // MCUs between restart markers; 0: none
	// block returns the coefficients of the next block, in the order of the data. The first
	// is the difference to that of the block before.
	block func() [64]int
}

// encode returns the JPEG. Its codes are all of one length for DC, and of one for AC, so that
// there is one for every symbol.
func (c *coded) encode() []byte {
	b := []byte{0xff, 0xd8}
	b = segment(b, 0xdb, append([]byte{0}, c.quantization[:]...))
	header := binary.BigEndian.AppendUint16([]byte{8}, uint16(c.h))
	header = append(binary.BigEndian.AppendUint16(header, uint16(c.w)), byte(len(c.sampling)))
	scan := []byte{byte(len(c.sampling))}
	for i, s := range c.sampling {
		header = append(header, byte(i+1), byte(s[0]<<4|s[1]), 0)
		scan = append(scan, byte(i+1), 0)
	}
	b = segment(b, 0xc0, header)
	b = segment(b, 0xc4, equalCodes(0, 5, 16))
	b = segment(b, 0xc4, equalCodes(0x10, 9, 256))
	b = segment(b, 0xdd, binary.BigEndian.AppendUint16(nil, uint16(c.interval)))
	b = segment(b, 0xda, append(scan, 0, 63, 0))
	return append(c.appendScan(b), 0xff, 0xd9)
}

func segment(b []byte, marker byte, data []byte) []byte {
	b = binary.BigEndian.AppendUint16(append(b, 0xff, marker), uint16(len(data)+2))
	return append(b, data...)
}

// equalCodes returns a table of n symbols with codes of one length.
func equalCodes(class byte, length, n int) []byte {
	lengths := make([]byte, 16)
	lengths[length-1] = byte(min(n, 255))
	if n > 255 {
		lengths[length]++ // a length has up to 255
	}
	b := append([]byte{class}, lengths...)
	for i := range n {
		b = append(b, byte(i))
	}
	return b
}

func (c *coded) appendScan(b []byte) []byte {
	most, blocks := [2]int{1, 1}, 1
	if len(c.sampling) > 1 {
		blocks = 0
		for _, s := range c.sampling {
			most[0], most[1] = max(most[0], s[0]), max(most[1], s[1])
			blocks += s[0] * s[1]
		}
	}
	across, down := (c.w+8*most[0]-1)/(8*most[0]), (c.h+8*most[1]-1)/(8*most[1])
	w := bitWriter{b: b}
	for i := range across * down {
		if c.interval > 0 && i > 0 && i%c.interval == 0 {
			w.align()
			w.b = append(w.b, 0xff, 0xd0+byte(i/c.interval-1)%8)
		}
		for range blocks {
			w.block(c.block())
		}
	}
	w.align()
	return w.b
}

type bitWriter struct {
	b    []byte
	bits uint64
	n    int
}

func (w *bitWriter) put(v, n int) {
	w.bits, w.n = w.bits<<n|uint64(v), w.n+n
	for ; w.n >= 8; w.n -= 8 {
		c := byte(w.bits >> (w.n - 8))
		if w.b = append(w.b, c); c == 0xff {
			w.b = append(w.b, 0)
		}
	}
}

// align fills up the last byte with ones.
func (w *bitWriter) align() {
	if w.n > 0 {
		w.put(1<<(8-w.n)-1, 8-w.n)
	}
}

// value writes a number of so many bits as JPEG has it.
func (w *bitWriter) value(v, size int) {
	if v < 0 {
		v += 1<<size - 1
	}
	w.put(v, size)
}

func sizeOf(v int) int { return bits.Len(uint(max(v, -v))) }

func (w *bitWriter) ac(symbol int) {
	if symbol == 255 {
		w.put(255<<1, 10)
		return
	}
	w.put(symbol, 9)
}

func (w *bitWriter) block(c [64]int) {
	w.put(sizeOf(c[0]), 5)
	w.value(c[0], sizeOf(c[0]))
	run := 0
	for _, v := range c[1:] {
		if v == 0 {
			run++
			continue
		}
		for ; run > 15; run -= 16 {
			w.ac(0xf0)
		}
		w.ac(run<<4 | sizeOf(v))
		w.value(v, sizeOf(v))
		run = 0
	}
	if run > 0 {
		w.ac(0)
	}
}

// randomCoded returns a JPEG of random coefficients: of some blocks only the first ones, and
// in some pictures so large ones that versions of libjpeg differ in what they make of them.
func randomCoded(rng *rand.Rand, s sampling, side int) []byte {
	c := coded{w: 1 + rng.IntN(side), h: 1 + rng.IntN(side), sampling: s}
	if rng.IntN(3) == 0 {
		c.interval = 1 + rng.IntN(9)
	}
	large := 1 << rng.IntN(8)
	if rng.IntN(8) == 0 {
		large = 1 << rng.IntN(15)
	}
	for i := range c.quantization {
		c.quantization[i] = byte(1 + rng.IntN(1+255/large))
	}
	dc := 0
	c.block = func() (b [64]int) {
		next := rng.IntN(2*large+1) - large
		b[0], dc = next-dc, next
		if c.interval > 0 || len(s) > 1 {
			b[0] = (rng.IntN(2*large+1) - large) / 4 // the block before may be of another component
		}
		n := rng.IntN(64)
		if rng.IntN(2) == 0 {
			n = rng.IntN(12)
		}
		for i := range n {
			if rng.IntN(3) > 0 {
				b[1+i] = (rng.IntN(2*large+1) - large) / (1 + i/2)
			}
		}
		return b
	}
	return c.encode()
}
