package opencv

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"image"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// TestMeasuredIsTaken compares what pictures are measured to take with the memory that a
// worker has after it, for all kinds of pictures and outputs.
func TestMeasuredIsTaken(t *testing.T) {
	files, err := os.ReadDir("testdata/pictures")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(11, 12))
	for _, file := range files {
		f := source.Frame{Data: readPicture(t, file.Name())}
		for range 12 {
			outs := randomOutputs(rng, 300)
			compareMeasured(t, file.Name(), f, outs)
		}
	}
}

func compareMeasured(t *testing.T, name string, f source.Frame, outs []*transform.Output) {
	t.Helper()
	compareMeasuredOf(t, name, f, nil, outs)
}

func compareMeasuredOf(t *testing.T, name string, f source.Frame, c *transform.Camera, outs []*transform.Output) {
	t.Helper()
	o := Options{NoRowDecoder: len(outs) == 2} // some are measured without it
	size, work := NewMeter(o).Measure(f, c, outs)
	w := NewWorker(o)
	defer w.Close()
	for _, m := range w.memories() {
		m.free() // what the search for internals took
	}
	_, _, _ = w.Luma(f, c) // not every picture has one
	if err := w.Decode(f, c, outs); err != nil {
		t.Fatal(err)
	}
	if size != w.picture.full {
		t.Errorf("%s is measured as %v, and %v", name, size, w.picture.full)
	}
	for _, o := range outs {
		tensor, err := w.Tensor(o)
		if err != nil {
			continue
		}
		if n, err := o.Spec.BytesOf(size); err != nil || n != len(tensor.Data) {
			t.Errorf("%s: a tensor of %d bytes, and %d: %v", name, n, len(tensor.Data), err)
		}
	}
	taken := 0
	for _, m := range w.memories() {
		taken += m.cap
	}
	// What the libraries take comes on top: of such small pictures up to 2 MB.
	if work < int64(taken) || work > int64(taken)+2<<20 {
		t.Errorf("%s for %v: %d bytes are measured, and %d taken", name, specs(outs), work, taken)
	}
}

func specs(outs []*transform.Output) (all []transform.Spec) {
	for _, o := range outs {
		all = append(all, o.Spec)
	}
	return all
}

// A flatPicture is a large picture of one color in few bytes.
type flatPicture struct {
	name string
	make func(side int) []byte
}

// flatPictures are the pictures that take most memory for their pixels.
func flatPictures() []flatPicture {
	return []flatPicture{
		{"progressive", func(side int) []byte { return flatJPEG(side, 3, true) }},
		{"progressive CMYK", func(side int) []byte { return flatJPEG(side, 4, true) }},
		{"baseline in several scans", func(side int) []byte { return flatJPEG(side, 3, false) }},
		{"16-bit RGBA PNG", func(side int) []byte { return flatPNG(side, 16, 6, 0, 8) }},
		{"interlaced 16-bit PNG", func(side int) []byte { return flatPNG(side, 16, 6, 1, 8) }},
	}
}

// flatJPEG returns a JPEG of side x side pixels without subsampling, progressive or with a
// scan for each component. See [progressive] for its codes.
func flatJPEG(side, components int, progressive bool) []byte {
	blocks := ((side + 7) / 8) * ((side + 7) / 8)
	oneCode := "\x01" + strings.Repeat("\x00", 15)
	ac, frame := "\x00", byte(0xc0) // "no more coefficients", for baseline
	if progressive {
		ac, frame = "\xe0", 0xc2
	}
	b := []byte("\xff\xd8\xff\xdb\x00\x43\x00" + strings.Repeat("\x01", 64))
	b = append(b, 0xff, frame, 0, byte(8+3*components), 8, byte(side>>8), byte(side), byte(side>>8), byte(side), byte(components))
	var all []byte
	for c := range components {
		b = append(b, byte(c+1), 0x11, 0)
		all = append(all, byte(c+1))
	}
	b = append(b, "\xff\xc4\x00\x14\x00"+oneCode+"\x00\xff\xc4\x00\x14\x10"+oneCode+ac...)
	bits := func(n int) []byte { return make([]byte, (n+7)/8) }
	if progressive {
		b = append(b, scan{components: all, data: bits(blocks * components)}.bytes()...)
	}
	for _, c := range all {
		s := scan{components: []byte{c}, last: 63, data: bits(2 * blocks)}
		if progressive {
			s.first, s.data = 1, bits(15*((blocks+1<<14-1)>>14))
		}
		b = append(b, s.bytes()...)
	}
	return append(b, 0xff, 0xd9)
}

// flatPNG returns a PNG of side x side black pixels.
func flatPNG(side, depth, color, interlace, bytesPerPixel int) []byte {
	f := pngFile{width: side, height: side, bits: 8 * bytesPerPixel, interlaced: interlace == 1}
	var rows bytes.Buffer
	z, _ := zlib.NewWriterLevel(&rows, zlib.BestSpeed)
	for _, pass := range f.passes() {
		row := make([]byte, 1+pass.size.X*bytesPerPixel)
		for range pass.size.Y {
			_, _ = z.Write(row) // to memory
		}
	}
	_ = z.Close()
	header := binary.BigEndian.AppendUint32(nil, uint32(side))
	header = binary.BigEndian.AppendUint32(header, uint32(side))
	header = append(header, byte(depth), byte(color), 0, 0, byte(interlace))
	return pngOf(pngChunk("IHDR", header), pngChunk("IDAT", rows.Bytes()), pngChunk("IEND", nil))
}

// TestLargePicturesAreMeasured has a process of its own decode each of the pictures that
// take most memory, and compares the most that it was resident with what was measured. The
// memory is given back when the worker rests. The pictures have 4096x4096 pixels, with -short
// fewer, and with CVFEEDER_SOAK 8192x8192.
func TestLargePicturesAreMeasured(t *testing.T) {
	if kind := os.Getenv("CVFEEDER_TEST_LARGE"); kind != "" {
		decodeLarge(t, kind)
		return
	}
	side := 4096
	switch {
	case testing.Short():
		side = 2048
	case os.Getenv("CVFEEDER_SOAK") != "":
		side = 8192
	}
	for _, p := range flatPictures() {
		t.Run(p.name, func(t *testing.T) {
			file := t.TempDir() + "/picture"
			if err := os.WriteFile(file, p.make(side), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLargePicturesAreMeasured$", "-test.v")
			cmd.Env = append(os.Environ(), "CVFEEDER_TEST_LARGE="+file)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, "measured") {
					t.Log(strings.TrimSpace(line))
				}
			}
		})
	}
}

// decodeLarge decodes a picture with an output of each kind of resampling, one at a time.
func decodeLarge(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{MaxWidth: 8192, MaxHeight: 8192}
	m, w := NewMeter(o), NewWorker(o)
	defer w.Close()
	w.patience = time.Hour // machines may be slow here
	for _, resize := range []transform.Resize{transform.OpenCVLinear, transform.PillowBicubic, transform.OpenCVCubic} {
		out := newOutput(t, "yolo", func(s *transform.Spec) { s.Resize = resize })
		outs, f := []*transform.Output{out}, source.Frame{Data: data}
		size, work := m.Measure(f, nil, outs)
		bytes, err := out.Spec.BytesOf(size)
		if err != nil {
			t.Fatal(err)
		}
		before := resident(t)
		if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // resets the peak
			t.Skip(err)
		}
		if err := w.Decode(f, nil, outs); err != nil {
			t.Fatal(err)
		}
		tensor, err := w.Tensor(out)
		if err != nil {
			t.Fatal(err)
		}
		tensor.Release()
		took := peak(t) - before
		w.Rest()
		after := resident(t) - before
		t.Logf("%s: %d MB measured, %d MB resident, %d MB after it", resize, work>>20, took>>20, after>>20)
		// Besides: the tensor, pages that are touched for the first time, Go's own.
		const slack = 24 << 20
		if int64(took) > work+int64(bytes)+slack {
			t.Errorf("%s: %d MB were resident, and %d MB measured", resize, took>>20, work>>20)
		}
		if after > memoryKept+slack {
			t.Errorf("%s: %d MB are still resident", resize, after>>20)
		}
	}
}

// TestMemoryIsGivenBack: workers on many threads that decode large pictures one at a time
// take the memory of one, not that of one for each thread. A process of its own does it, as
// it is about what the C library keeps.
func TestMemoryIsGivenBack(t *testing.T) {
	if testing.Short() {
		t.Skip("decodes large pictures for some seconds")
	}
	if os.Getenv("CVFEEDER_TEST_THREADS") == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMemoryIsGivenBack$", "-test.v")
		cmd.Env = append(os.Environ(), "CVFEEDER_TEST_THREADS=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	out := newOutput(t, "yolo", nil)
	outs, f := []*transform.Output{out}, source.Frame{Data: flatJPEG(2816, 4, true)}
	o := Options{MaxWidth: 4096, MaxHeight: 4096}
	_, work := NewMeter(o).Measure(f, nil, outs)
	turn := make(chan struct{}, 1)
	var threads sync.WaitGroup
	for range 8 {
		threads.Go(func() {
			runtime.LockOSThread()
			w := NewWorker(o)
			defer w.Close()
			w.patience = time.Hour
			for range 2 {
				turn <- struct{}{}
				if err := w.Decode(f, nil, outs); err != nil {
					t.Error(err)
				}
				w.Rest()
				<-turn
			}
		})
	}
	threads.Wait()
	took := peak(t)
	t.Logf("%d MB measured, %d MB resident", work>>20, took>>20)
	const itself, kept = 96 << 20, 8 * memoryKept
	if int64(took) > work+itself+kept {
		t.Errorf("%d MB were resident, and %d MB measured", took>>20, work>>20)
	}
}

// peak returns the most bytes that were resident since the last reset.
func peak(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmHWM:" {
			n, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Skip("there is no VmHWM in /proc/self/status")
	return 0
}

// TestMeasureKeepsToLimit: what a worker refuses by its header takes nothing.
func TestMeasureKeepsToLimit(t *testing.T) {
	m := NewMeter(Options{MaxWidth: 1000, MaxHeight: 1000})
	for _, p := range flatPictures() {
		for side, accepted := range map[int]bool{1000: true, 1001: false} {
			size, work := m.Measure(source.Frame{Data: p.make(side)}, nil, nil)
			if (work > 0) != accepted || (size == image.Pt(side, side)) != accepted {
				t.Errorf("%s of %d: %v, %d bytes", p.name, side, size, work)
			}
		}
	}
}

// TestSlowPicture: a picture that takes longer than the worker's patience is undecodable,
// by the time that it takes and not by the clock on the wall.
func TestSlowPicture(t *testing.T) {
	scans := slices.Repeat([]scan{{components: []byte{1, 2, 3}, data: make([]byte, 3*256*256/8)}}, 40)
	data := flatJPEG(2048, 3, true)
	at := bytes.Index(data, []byte{0xff, startOfScan})
	var more []byte
	for _, s := range scans {
		more = append(more, s.bytes()...)
	}
	data = slices.Insert(data, at, more...)
	d := newDecoders(t, Options{})
	o := newOutput(t, "yolo", nil)
	for _, w := range []*Worker{d.rows, d.whole, d.plain} {
		w.patience = time.Hour
		if got := decodeReason(t, w, data); got != "" {
			t.Errorf("with much time: %q", got)
		}
		w.patience = time.Millisecond
		if got := decodeReason(t, w, data); got != transform.ReasonCost {
			t.Errorf("with little time: %q", got)
		}
	}
	d.compare(t, data, o)
}
