package tensorimage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/tensor"
	"github.com/cvfeeder/cvfeeder/transform"
)

// picture is 3 pixels wide and 2 high, in RGB.
var picture = [2][3][3]byte{
	{{255, 0, 0}, {0, 255, 0}, {0, 0, 255}},
	{{0, 0, 0}, {255, 255, 255}, {10, 100, 200}},
}

// makeTensor returns the picture as a tensor of the given kind.
func makeTensor(t *testing.T, d transform.DType, layout transform.Layout, c transform.Color) Tensor {
	t.Helper()
	e := publish.Envelope{
		DType: d, Layout: layout, Color: c, Shape: []int{1, c.Channels(), 2, 3},
		Scale: 1.0 / 255, Mean: []float64{0.485, 0.456, 0.406}, Std: []float64{0.229, 0.224, 0.225},
		Normalized: d != transform.Uint8,
	}
	if d == transform.Int8 {
		e.QuantScale, e.QuantZeroPoint = 5.0/255, -10 // about a pixel of the picture
	}
	var order [][3]int // row, column, channel of each element
	if layout == transform.NHWC {
		e.Shape = []int{1, 2, 3, c.Channels()}
		for i := range 6 * c.Channels() {
			order = append(order, [3]int{i / c.Channels() / 3, i / c.Channels() % 3, i % c.Channels()})
		}
	} else {
		for i := range 6 * c.Channels() {
			order = append(order, [3]int{i % 6 / 3, i % 3, i / 6})
		}
	}
	var data []byte
	for _, at := range order {
		channel := at[2]
		if c == transform.BGR {
			channel = 2 - channel
		}
		pixel := picture[at[0]][at[1]][channel]
		value := (float64(pixel)*e.Scale - e.Mean[at[2]]) / e.Std[at[2]]
		switch d {
		case transform.Float32:
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(value)))
		case transform.Float16:
			data = binary.LittleEndian.AppendUint16(data, nearestHalf(value))
		case transform.BFloat16: // a pixel may be off by one, with 8 bits for all values
			data = binary.LittleEndian.AppendUint16(data, uint16((math.Float32bits(float32(value))+0x8000)>>16))
		case transform.Int8:
			data = append(data, uint8(int8(math.Round(value/e.QuantScale)+float64(e.QuantZeroPoint))))
		default:
			data = append(data, pixel)
		}
	}
	x, err := New(e, data)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// nearestHalf searches all finite halves for the one nearest to v.
func nearestHalf(v float64) uint16 {
	best, distance := uint16(0), math.Inf(1)
	for h := range uint16(0xfbff) {
		if f := float64(tensor.Float16(h)); math.Abs(f-v) < distance {
			best, distance = h, math.Abs(f-v)
		}
	}
	return best
}

func TestImageShowsThePicture(t *testing.T) {
	for _, d := range transform.DTypes() {
		for _, layout := range []transform.Layout{transform.NCHW, transform.NHWC} {
			for _, c := range []transform.Color{transform.RGB, transform.BGR, transform.Gray} {
				t.Run(fmt.Sprintf("%s %s %s", d, layout, c), func(t *testing.T) {
					var b bytes.Buffer
					if err := EncodePNG(&b, makeTensor(t, d, layout, c)); err != nil {
						t.Fatal(err)
					}
					img, err := png.Decode(&b)
					if err != nil {
						t.Fatal(err)
					}
					if img.Bounds() != image.Rect(0, 0, 3, 2) {
						t.Fatalf("bounds %v", img.Bounds())
					}
					for y := range 2 {
						for x := range 3 {
							p := picture[y][x]
							want := color.NRGBA{p[0], p[1], p[2], 255}
							if c == transform.Gray {
								want.G, want.B = p[0], p[0]
							}
							got, _ := color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)
							if off := furthest(got, want); off > map[transform.DType]int{transform.BFloat16: 1, transform.Int8: 1}[d] {
								t.Errorf("(%d,%d): %v, want %v", x, y, got, want)
							}
						}
					}
				})
			}
		}
	}
}

func TestSampled(t *testing.T) {
	for limit, want := range map[int]image.Point{1: {X: 1, Y: 1}, 2: {X: 2, Y: 1}, 3: {X: 3, Y: 2}, 1000: {X: 3, Y: 2}} {
		for _, c := range []transform.Color{transform.RGB, transform.Gray} {
			x := makeTensor(t, transform.Uint8, transform.NHWC, c)
			whole, img := x.Image(), x.Sampled(limit)
			if got := img.Bounds().Size(); got != want {
				t.Errorf("limit %d: %v, want %v", limit, got, want)
			}
			for y := range want.Y {
				for i := range want.X {
					n := (3-1)/limit + 1
					if got, want := img.At(i, y), whole.At(i*n, y*n); got != want {
						t.Errorf("limit %d, %s at %d,%d: %v, want %v", limit, c, i, y, got, want)
					}
				}
			}
		}
	}
}

func TestToByte(t *testing.T) {
	for v, want := range map[float64]byte{
		-1: 0, math.Inf(-1): 0, 0.4: 0, 0.5: 1, 254.4: 254, 254.6: 255, 256: 255, math.Inf(1): 255,
	} {
		if got := toByte(v); got != want {
			t.Errorf("%v: %d, want %d", v, got, want)
		}
	}
	if got := toByte(math.NaN()); got != 0 {
		t.Errorf("NaN: %d", got)
	}
}

func TestRange(t *testing.T) {
	low, high, mean := makeTensor(t, transform.Uint8, transform.NHWC, transform.RGB).Range()
	if want := (6*255.0 + 310) / 18; low != 0 || high != 255 || mean != want {
		t.Errorf("got %v %v %v", low, high, mean)
	}
	x := makeTensor(t, transform.Float32, transform.NCHW, transform.Gray)
	binary.LittleEndian.PutUint32(x.data[8:], math.Float32bits(float32(math.NaN())))
	if low, high, mean := x.Range(); math.IsNaN(low) || math.IsNaN(high) || !math.IsNaN(mean) {
		t.Errorf("with a NaN: %v %v %v", low, high, mean)
	}
}

func TestChannelMeans(t *testing.T) {
	for _, layout := range []transform.Layout{transform.NCHW, transform.NHWC} {
		got := makeTensor(t, transform.Uint8, layout, transform.BGR).ChannelMeans()
		if diff := cmp.Diff([]float64{710.0 / 6, 610.0 / 6, 520.0 / 6}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", layout, diff)
		}
	}
}

func TestNewRefusesAnotherSize(t *testing.T) {
	x := makeTensor(t, transform.Float32, transform.NCHW, transform.RGB)
	if _, err := New(x.envelope, x.data[1:]); err == nil {
		t.Error("a payload that is too short is taken")
	}
}

func TestNPYHeader(t *testing.T) {
	var b bytes.Buffer
	x := makeTensor(t, transform.Float16, transform.NHWC, transform.BGR)
	if err := EncodeNPY(&b, x); err != nil {
		t.Fatal(err)
	}
	want := "\x93NUMPY\x01\x00\x76\x00{'descr': '<f2', 'fortran_order': False, 'shape': (1, 2, 3, 3), }"
	want += strings.Repeat(" ", 127-len(want)) + "\n" + string(x.data)
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

// furthest returns the largest difference between two colors in a channel.
func furthest(a, b color.NRGBA) int {
	off := func(a, b uint8) int { return max(int(a)-int(b), int(b)-int(a)) }
	return max(off(a.R, b.R), off(a.G, b.G), off(a.B, b.B), off(a.A, b.A))
}

// TestNumPyReadsNPY needs an interpreter with NumPy, named by CVFEEDER_PYTHON.
func TestNumPyReadsNPY(t *testing.T) {
	python := os.Getenv("CVFEEDER_PYTHON")
	if python == "" {
		t.Skip("CVFEEDER_PYTHON does not name a Python with NumPy: `make test` makes one")
	}
	dir := t.TempDir()
	var want strings.Builder
	for i, d := range []transform.DType{transform.Float32, transform.Float16, transform.Uint8, transform.Int8, transform.BFloat16} {
		x := makeTensor(t, d, transform.NCHW, transform.RGB)
		var b bytes.Buffer
		if err := EncodeNPY(&b, x); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.npy", i)), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, mean := x.Range()
		name := string(d)
		if d == transform.BFloat16 { // the bits, of which a view is made: see below
			name = "uint16"
		}
		fmt.Fprintf(&want, "%s (1, 3, 2, 3) %.6f %x\n", name, mean, x.data)
	}
	const script = `
import numpy, pathlib, sys
for f in sorted(pathlib.Path(sys.argv[1]).glob("*.npy")):
    a = numpy.load(f, allow_pickle=False)
    values = (a.astype("u4") << 16).view("f4") if a.dtype == "u2" else a
    print(a.dtype, a.shape, f"{values.mean(dtype='f8'):.6f}", a.tobytes().hex())`
	out, err := exec.CommandContext(t.Context(), python, "-c", script, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if diff := cmp.Diff(want.String(), string(out)); diff != "" {
		t.Error(diff)
	}
}
