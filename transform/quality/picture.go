package quality

import "encoding/binary"

// mostBlocks is of how many blocks the measures are taken at most, for the time that it takes: of
// larger pictures, rows are left out. The prints are of all blocks.
const mostBlocks = 1 << 12

// A picture is what is measured.
type picture struct {
	pix          []uint8
	w, h, stride int
	hidden       *Mask // nil: nothing is
	step         int   // of so many rows, one is measured
}

// row returns the blocks of a row.
func (m *picture) row(y int) []uint8 { return m.pix[y*m.stride:][:m.w] }

// hides tells whether a block does not count.
func (m *picture) hides(x, y int) bool { return m.hidden != nil && m.hidden.Hides(x, y) }

// count counts the blocks of each brightness.
func (m *picture) count(counts *[256]int32) {
	for y := 0; y < m.h; y += m.step {
		if m.hidden == nil {
			for _, v := range m.row(y) {
				counts[v]++
			}
			continue
		}
		for x, v := range m.row(y) {
			if !m.hides(x, y) {
				counts[v]++
			}
		}
	}
}

// sharpness returns the variance of the Laplacian. What lies at an edge of the picture, or beside
// something that is hidden, has none.
func (m *picture) sharpness() float64 {
	var n, sum, squares int64
	for y := 1; y < m.h-1; y += m.step {
		above, row, below := m.row(y-1), m.row(y), m.row(y+1)
		if m.hidden == nil {
			s, q := laplacians(above, row, below)
			n, sum, squares = n+int64(max(0, m.w-2)), sum+s, squares+q
			continue
		}
		for x := 1; x < m.w-1; x++ {
			if m.hides(x, y) || m.hides(x-1, y) || m.hides(x+1, y) || m.hides(x, y-1) || m.hides(x, y+1) {
				continue
			}
			d := int64(above[x]) + int64(below[x]) + int64(row[x-1]) + int64(row[x+1]) - 4*int64(row[x])
			n, sum, squares = n+1, sum+d, squares+d*d
		}
	}
	if n == 0 {
		return 0
	}
	mean := float64(sum) / float64(n)
	return max(0, float64(squares)/float64(n)-float64(mean*mean))
}

// laplacians returns the sum of the Laplacians of a row, and that of their squares.
func laplacians(above, row, below []uint8) (sum, squares int64) {
	if len(row) < 3 {
		return 0, 0
	}
	last := len(row) - 1
	above, below = above[:len(row)], below[:len(row)]
	left, here := int32(row[0]), int32(row[1])
	var s, q int32 // of up to 1020 each, squared: 2000 of them fit
	for x := 1; x < last; x++ {
		right := int32(row[x+1])
		d := int32(above[x]) + int32(below[x]) + left + right - 4*here
		s += d
		q += d * d
		left, here = here, right
		if x&1023 == 0 {
			sum, squares, s, q = sum+int64(s), squares+int64(q), 0, 0
		}
	}
	return sum + int64(s), squares + int64(q)
}

// shrink sets the parts to the means of their blocks. What is hidden takes no part, and a part
// that has nothing else is of the given brightness. Of a picture that is smaller than a thumb,
// some parts have the same block.
func (m *picture) shrink(t *Thumb, none uint8) {
	var columns [Width][2]int
	for x := range columns {
		columns[x][0], columns[x][1] = span(x, Width, m.w)
	}
	for y := range Height {
		y0, y1 := span(y, Height, m.h)
		for x, c := range columns {
			x0, x1, sum, n := c[0], c[1], 0, 0
			for by := y0; by < y1; by += m.step {
				row := m.row(by)[x0:x1]
				if m.hidden == nil {
					for _, v := range row {
						sum += int(v)
					}
					n += len(row)
					continue
				}
				for i, v := range row {
					if !m.hides(x0+i, by) {
						sum, n = sum+int(v), n+1
					}
				}
			}
			t[y*Width+x] = none
			if n > 0 {
				t[y*Width+x] = uint8((sum + n/2) / n)
			}
		}
	}
}

// span returns the blocks of part i of n, of a length in blocks: one at least.
func span(i, n, length int) (from, to int) {
	from = i * length / n
	return from, max(from+1, (i+1)*length/n)
}

// The constants of the hash FNV-1a (Fowler, Noll and Vo) in 64 bits. It is taken of eight
// blocks at a time.
const (
	offset = 14695981039346656037
	prime  = 1099511628211
)

// prints returns the print of each tile.
func (m *picture) prints() (p Prints) {
	for ty := range tilesAcross {
		y0, y1 := ty*m.h/tilesAcross, (ty+1)*m.h/tilesAcross
		for tx := range tilesAcross {
			x0, x1 := tx*m.w/tilesAcross, (tx+1)*m.w/tilesAcross
			p[ty*tilesAcross+tx] = m.print(x0, y0, x1, y1)
		}
	}
	return p
}

func (m *picture) print(x0, y0, x1, y1 int) uint32 {
	hash, telling, looked := uint64(offset), 0, 0
	for y := y0; y < y1; y++ {
		row := m.row(y)[x0:x1]
		if m.hidden != nil {
			for i, v := range row {
				if looked++; m.hides(x0+i, y) {
					continue
				}
				hash = (hash ^ uint64(v)) * prime
				if !clipped(v) {
					telling++
				}
			}
			continue
		}
		for ; len(row) >= 8; row = row[8:] {
			hash = (hash ^ binary.LittleEndian.Uint64(row)) * prime
			hash ^= hash >> 32 // which the multiplication does not carry down
			if looked++; !clipped(row[0]) {
				telling++
			}
		}
		for _, v := range row {
			if hash, looked = (hash^uint64(v))*prime, looked+1; !clipped(v) {
				telling++
			}
		}
	}
	if telling*4 < looked || telling == 0 {
		return 0
	}
	return max(1, uint32(hash>>32)^uint32(hash))
}

func clipped(v uint8) bool { return v < ends || v > 255-ends }
