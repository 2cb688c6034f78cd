package opencv

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// newOutput returns an output of a preset, changed.
func newOutput(t testing.TB, preset string, change func(*transform.Spec)) *transform.Output {
	t.Helper()
	s, err := transform.Preset(preset)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&s)
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	return &transform.Output{Name: preset, Spec: s}
}

func TestSeveralOutputsOfOneDecode(t *testing.T) {
	outs := []*transform.Output{newOutput(t, "yolo", nil), newOutput(t, "imagenet", nil), newOutput(t, "raw", nil)}
	w := NewWorker(Options{})
	defer w.Close()
	f := source.Frame{
		Stream: "front-door", Slot: 1767323045200, Capture: time.UnixMilli(1767323045207).UTC(),
		Data: readPicture(t, "large.jpg"),
	}
	if err := w.Decode(f, nil, outs); err != nil {
		t.Fatal(err)
	}
	clear(f.Data) // it is not needed any more
	shapes := [][]int{{1, 3, 640, 640}, {1, 3, 224, 224}, {1, 270, 480, 3}}
	for i, o := range outs {
		got, err := w.Tensor(o)
		if err != nil {
			t.Fatal(err)
		}
		alone := makeTensor(t, NewWorker(Options{}), readPicture(t, "large.jpg"), o.Spec)
		if !bytes.Equal(got.Data, alone.Data) {
			t.Errorf("%s: not the tensor that it is alone", o.Name)
		}
		if got.Stream != f.Stream || got.Slot != f.Slot || got.Capture != f.Capture || got.Output != o ||
			got.Source != image.Pt(480, 270) {
			t.Errorf("%+v", got)
		}
		if diff := cmp.Diff(shapes[i], got.Shape); diff != "" {
			t.Errorf("shape (-want +got):\n%s", diff)
		}
		got.Release()
	}
}

// TestTilesAreParts: each tile is as the tensor of the part of the picture that it is of, however
// it is resized, and the second tensor in the same memory, too, whose padding is there already.
func TestTilesAreParts(t *testing.T) {
	data, buffers := readPicture(t, "large.jpg"), new(transform.Buffers) // 480x270
	for _, resize := range transform.Resizes() {
		for _, tiles := range []transform.Tiles{{Size: image.Pt(160, 120), Overlap: 0.25}, {Grid: image.Pt(2, 2), Overlap: 0.1}} {
			o := newOutput(t, "yolo", func(s *transform.Spec) {
				s.Resize, s.Tiles, s.Width, s.Height = resize, tiles, 96, 96
			})
			geometries, err := o.Spec.Geometries(image.Pt(480, 270))
			if err != nil {
				t.Fatal(err)
			}
			for _, options := range []Options{{Buffers: buffers}, {Buffers: buffers, NoRowDecoder: true}} {
				w := NewWorker(options)
				got := makeTensor(t, w, data, o.Spec)
				if len(got.Affines) != len(geometries) || got.Shape[0] != len(geometries) {
					t.Fatalf("%d maps and shape %v of %d tiles", len(got.Affines), got.Shape, len(geometries))
				}
				n := len(got.Data) / len(geometries)
				for i, g := range geometries {
					part := o.Spec
					part.Tiles = transform.Tiles{}
					part.ROI = transform.ROI{X: float64(g.Region.Min.X), Y: float64(g.Region.Min.Y), W: float64(g.Region.Dx()), H: float64(g.Region.Dy())}
					want := makeTensor(t, w, data, part)
					if !bytes.Equal(got.Data[i*n:][:n], want.Data) || got.Affines[i] != want.Affines[0] {
						t.Errorf("%s, %v: tile %d is not as its part of the picture", resize, tiles, i)
					}
				}
				got.Release()
				w.Close()
			}
		}
	}
}

func TestNoPicture(t *testing.T) {
	o := newOutput(t, "yolo", nil)
	w := NewWorker(Options{})
	if _, err := w.Tensor(o); err == nil {
		t.Error("a tensor without a picture")
	}
	makeTensor(t, w, readPicture(t, "444.jpg"), o.Spec)
	if decodeReason(t, w, []byte("broken")) == "" {
		t.Error("text is decoded")
	}
	if _, err := w.Tensor(o); err == nil {
		t.Error("a tensor of the picture before the broken one")
	}
	w.Close()
	w.Close()
	if err := w.Decode(source.Frame{Data: readPicture(t, "444.jpg")}, nil, nil); err == nil {
		t.Error("a closed worker decodes")
	}
	if _, err := w.Tensor(o); err == nil {
		t.Error("a closed worker makes tensors")
	}
}

// TestMemoryIsReused feeds one worker pictures of many kinds, and compares with a
// new worker for each.
func TestMemoryIsReused(t *testing.T) {
	w := NewWorker(Options{})
	defer w.Close()
	names := []string{"large.jpg", "pixel.jpg", "cmyk.jpg", "rgba.png", "tall.jpg", "gray16.png", "420.jpg"}
	for i := range 3 * len(names) {
		data := readPicture(t, names[i%len(names)])
		for _, preset := range transform.PresetNames()[:4] {
			s := newOutput(t, preset, func(s *transform.Spec) {
				if i%2 == 0 {
					s.Color = transform.Gray
				}
			}).Spec
			fresh := NewWorker(Options{})
			got, want := makeTensor(t, w, data, s), makeTensor(t, fresh, data, s)
			if !bytes.Equal(got.Data, want.Data) {
				t.Fatalf("%s of %s differs", preset, names[i%len(names)])
			}
			got.Release()
			fresh.Close()
		}
	}
	if n := OpenMats(); n != 0 {
		t.Errorf("%d Mats are open", n)
	}
}

// TestMemoryShrinks: what a worker took for an outlier it gives back at once where it is
// much, and otherwise when the pictures after it do not need it.
func TestMemoryShrinks(t *testing.T) {
	w := NewWorker(Options{NoRowDecoder: true})
	defer w.Close()
	held := func() (n int) {
		for _, m := range w.memories() {
			n += m.cap
		}
		return n
	}
	reserve := func(m *memory, n int) {
		t.Helper()
		if err := m.reserve(n); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range w.memories() {
		reserve(m, 1000)
		reserve(m, 10)
		if m.cap != 1000 {
			t.Errorf("%d bytes, and 1000 were there already", m.cap)
		}
	}
	reserve(&w.scratch, 8*memoryKept)
	reserve(&w.pixels, memoryKept/2)
	w.Rest()
	if w.scratch.cap != 0 || w.pixels.cap != memoryKept/2 {
		t.Errorf("%d and %d bytes are kept", w.scratch.cap, w.pixels.cap)
	}
	for _, m := range w.memories() {
		reserve(m, memoryKept/2)
	}
	w.Rest()
	if n := held(); n > memoryKept {
		t.Errorf("%d bytes are kept", n)
	}
	for range 2 * restsKept {
		reserve(&w.pixels, 1000)
		w.Rest()
	}
	if n := held(); n > 2000 {
		t.Errorf("%d bytes are kept where 1000 are needed", n)
	}
	if err := w.scratch.reserve(math.MaxInt / 2); err == nil || !strings.Contains(err.Error(), "out of memory") {
		t.Errorf("%v", err)
	}
}

// TestPartIsAsWhole compares the fits that cut, which compute only what is visible, with a
// part of the whole resized picture.
func TestPartIsAsWhole(t *testing.T) {
	w := NewWorker(Options{})
	defer w.Close()
	for _, name := range []string{"large.jpg", "tall.jpg", "wide.jpg"} {
		data := readPicture(t, name)
		for _, resize := range transform.Resizes() {
			for _, fit := range []transform.Fit{transform.Crop, transform.ShortSide} {
				part := newOutput(t, "none", func(s *transform.Spec) {
					s.Fit, s.Resize, s.Width, s.Height = fit, resize, 30, 47
					s.DType, s.Layout = transform.Uint8, transform.NHWC
				}).Spec
				got := makeTensor(t, w, data, part)
				g, err := part.Geometry(got.Source)
				if err != nil {
					t.Fatal(err)
				}
				whole := part
				whole.Fit, whole.Width, whole.Height = transform.Stretch, g.Resized.X, g.Resized.Y
				if whole.Validate() != nil {
					t.Fatalf("%v is too large for this test", g.Resized)
				}
				want := cut(makeTensor(t, w, data, whole), g.Visible())
				if !bytes.Equal(got.Data, want) {
					t.Errorf("%s %s of %s: the part differs from the whole", resize, fit, name)
				}
			}
		}
	}
}

// cut returns a part of an NHWC tensor of 3-channel bytes.
func cut(t *transform.Tensor, r image.Rectangle) []byte {
	var b []byte
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row := t.Data[3*y*t.Shape[2]:]
		b = append(b, row[3*r.Min.X:3*r.Max.X]...)
	}
	return b
}

// TestAffineFindsTheDot draws a dot, and maps its place in the tensor back to the picture:
// the affine has to agree with the pixels.
func TestAffineFindsTheDot(t *testing.T) {
	const x, y, radius = 700, 330, 24
	m := image.NewGray(image.Rect(0, 0, 1280, 720))
	for dy := -radius; dy <= radius; dy++ {
		for dx := -radius; dx <= radius; dx++ {
			if dx*dx+dy*dy <= radius*radius {
				m.SetGray(x+dx, y+dy, color.Gray{Y: 255})
			}
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	w := NewWorker(Options{})
	defer w.Close()
	for _, decode := range transform.DecodeModes() {
		for _, fit := range transform.Fits() {
			for _, resize := range transform.Resizes() {
				for _, roi := range []transform.ROI{{}, {X: 0.3, Y: 0.2, W: 0.45, H: 0.7, Fraction: true}} {
					s := newOutput(t, "none", func(s *transform.Spec) {
						s.Width, s.Height, s.Fit, s.Resize, s.ROI, s.Decode = 200, 170, fit, resize, roi, decode
						s.Color, s.Pad = transform.Gray, 0
						computed(s)
					}).Spec
					tensor := makeTensor(t, w, b.Bytes(), s)
					gotX, gotY := tensor.Affines[0].Apply(centroid(tensor))
					allowed := 0.6
					if resize == transform.OpenCVNearest {
						allowed = 1 // it takes single pixels
					}
					if math.Abs(gotX-x-0.5) > allowed || math.Abs(gotY-y-0.5) > allowed {
						t.Errorf("%s %s %s, roi %q: the dot is at %.2f, %.2f, want %v, %v",
							decode, fit, resize, roi, gotX, gotY, x+0.5, y+0.5)
					}
				}
			}
		}
	}
}

// centroid returns the centre of the bright pixels in a gray NCHW tensor of floats.
func centroid(t *transform.Tensor) (x, y float64) {
	var sum float64
	width := t.Shape[3]
	for i, v := range floats32(t.Data) {
		if v < 0.2 {
			continue // the noise of the compression
		}
		sum += v
		x += v * (float64(i%width) + 0.5)
		y += v * (float64(i/width) + 0.5)
	}
	return x / sum, y / sum
}

// TestFastDecode checks that pictures are decoded at the smallest scale that is allowed,
// and that they look the same.
func TestFastDecode(t *testing.T) {
	fast := func(s *transform.Spec) { s.Decode, s.Width, s.Height = transform.DecodeFast, 120, 120 }
	tests := []struct {
		name    string
		outs    []*transform.Output
		eighths int
	}{
		{"fast", []*transform.Output{newOutput(t, "yolo", fast)}, 2},
		{"with an exact one", []*transform.Output{newOutput(t, "yolo", fast), newOutput(t, "yolo", nil)}, 8},
		{"with a larger one", []*transform.Output{newOutput(t, "yolo", fast), newOutput(t, "yolo", func(s *transform.Spec) {
			fast(s)
			s.Width, s.Height = 200, 200
		})}, 4},
		{"with another one", []*transform.Output{newOutput(t, "yolo", fast), newOutput(t, "yolo", func(s *transform.Spec) {
			fast(s)
			s.Width, s.Height = 170, 170
		})}, 3},
		{"at full size", []*transform.Output{newOutput(t, "raw", func(s *transform.Spec) { s.Decode = transform.DecodeFast })}, 8},
		{"for nothing", nil, 8},
	}
	w := NewWorker(Options{})
	defer w.Close()
	for _, tt := range tests {
		if err := w.Decode(source.Frame{Data: readPicture(t, "large.jpg")}, nil, tt.outs); err != nil {
			t.Fatal(err)
		}
		if w.picture.eighths != tt.eighths || w.picture.full != image.Pt(480, 270) ||
			len(w.picture.resized) == 0 && w.picture.size != scaled(image.Pt(480, 270), tt.eighths) {
			t.Errorf("%s: %d/8, %v of %v, want %d/8", tt.name, w.picture.eighths, w.picture.size, w.picture.full, tt.eighths)
		}
	}
	s := newOutput(t, "yolo", fast).Spec
	got := makeTensor(t, w, readPicture(t, "large.jpg"), s)
	s.Decode, s.Resize = transform.DecodeExact, transform.OpenCVArea
	if psnr := compareFloats(got, makeTensor(t, w, readPicture(t, "large.jpg"), s)); psnr < 30 {
		t.Errorf("PSNR of %.1f dB", psnr)
	}
	// Of a picture of 3x3, several scales give the same size.
	for n := 1; n <= 8; n++ {
		tiny := newOutput(t, "yolo", func(s *transform.Spec) { s.Decode, s.Width, s.Height = transform.DecodeFast, n, n })
		if e := eighths(image.Pt(3, 3), []*transform.Output{tiny}); e < 8 && scaled(image.Pt(3, 3), e+1) == scaled(image.Pt(3, 3), e) {
			t.Errorf("%d/8 for %d pixels, but %d/8 has the same size", e, n, e+1)
		}
	}
}

// compareFloats returns the peak signal-to-noise ratio of two float32 tensors, in
// decibels.
func compareFloats(a, b *transform.Tensor) float64 {
	var sum float64
	first, second := floats32(a.Data), floats32(b.Data)
	for i, v := range first {
		d := v - second[i]
		sum += d * d
	}
	return -10 * math.Log10(sum/float64(len(first)))
}

func TestWorkersShareBuffers(t *testing.T) {
	buffers := new(transform.Buffers)
	o := newOutput(t, "imagenet", nil)
	want := makeTensor(t, NewWorker(Options{}), readPicture(t, "420.jpg"), o.Spec)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			w := NewWorker(Options{Buffers: buffers})
			defer w.Close()
			for range 20 {
				if err := w.Decode(source.Frame{Data: readPicture(t, "420.jpg")}, nil, []*transform.Output{o}); err != nil {
					t.Error(err)
					return
				}
				tensor, err := w.Tensor(o)
				if err != nil {
					t.Error(err)
					return
				}
				if !bytes.Equal(tensor.Data, want.Data) {
					t.Error("a tensor differs")
				}
				tensor.Release()
			}
		})
	}
	wg.Wait()
}

// TestResidentMemoryIsFlat decodes thousands of pictures, sound and broken, and compares
// the process's memory after the first thousand with that at the end. CVFEEDER_SOAK is
// their number where it is set: "make soak".
func TestResidentMemoryIsFlat(t *testing.T) {
	frames := 8000
	if n := os.Getenv("CVFEEDER_SOAK"); n != "" {
		var err error
		if frames, err = strconv.Atoi(n); err != nil {
			t.Fatalf("CVFEEDER_SOAK: %v", err)
		}
	}
	outs := []*transform.Output{
		newOutput(t, "yolo", func(s *transform.Spec) { s.Width, s.Height = 96, 96 }),
		newOutput(t, "clip", func(s *transform.Spec) { s.Width, s.Height = 48, 48 }),
		newOutput(t, "none", func(s *transform.Spec) {
			s.Width, s.Height, s.Resize, s.Color = 40, 40, transform.OpenCVCubic, transform.Gray
		}),
	}
	w := NewWorker(Options{})
	defer w.Close()
	var pictures [][]byte
	for _, name := range []string{"gray.jpg", "422.jpg", "cmyk.jpg", "rgb.png", "wide.jpg"} {
		data := readPicture(t, name)
		pictures = append(pictures, data, data[:len(data)/2], data[:len(data)-1])
	}
	run := func(frames int) {
		for i := range frames {
			some := outs[:1+i%2*2] // one is made from rows
			if w.Decode(source.Frame{Data: pictures[i%len(pictures)]}, nil, some) != nil {
				continue
			}
			for _, o := range some {
				tensor, err := w.Tensor(o)
				if err != nil {
					t.Fatal(err)
				}
				tensor.Release()
			}
		}
	}
	run(1000)
	before := resident(t)
	run(frames - 1000)
	after := resident(t)
	t.Logf("%d KB after 1000 frames, %d KB after %d", before>>10, after>>10, frames)
	// The garbage collector breathes; one leaked picture a frame would be more.
	if after-before > 8<<20 {
		t.Errorf("%d KB after 1000 frames, %d KB after %d", before>>10, after>>10, frames)
	}
}

// resident returns the resident memory of the process in bytes.
func resident(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

func TestEngine(t *testing.T) {
	e := Engine()
	for _, part := range []string{"opencv 4.", "libjpeg-turbo 2."} {
		if !strings.Contains(e, part) {
			t.Errorf("%q does not name %s", e, part)
		}
	}
}
