package opencv

import (
	"encoding/binary"
	"image"
	"math"
	"testing"
	"unsafe"

	"github.com/cvfeeder/cvfeeder/transform"
)

// TestPackValues packs every value of a pixel, at every place of a vector, with
// divisors for which the reciprocal does and does not do, and compares with the spec's
// own arithmetic.
func TestPackValues(t *testing.T) {
	w := NewWorker(Options{})
	defer w.Close()
	for _, width := range []int{256, 264, 251, 7} {
		size := image.Pt(width, 256)
		src, err := w.pixels.picture(size, 3)
		if err != nil {
			t.Fatal(err)
		}
		pixels := unsafe.Slice((*uint8)(src.p), width*256*3)
		for i := range pixels {
			pixels[i] = uint8(i/3 + i/(3*width) + 80*(i%3))
		}
		for _, divisor := range []float64{255, 1, 127.5, 256, 254.99998, 3, 1.9999999, 1e-30, 1e30, math.MaxFloat32} {
			for _, color := range []transform.Color{transform.RGB, transform.BGR} {
				spec := newOutput(t, "yolo", nil).Spec
				spec.Width, spec.Height, spec.Fit, spec.Color = width, 256, transform.Stretch, color
				spec.Scale, spec.Std = 1, [3]float64{divisor, divisor, divisor}
				g, err := spec.Geometry(size)
				if err != nil {
					t.Fatal(err)
				}
				if err := w.table.reserve(tableBytes); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, 4*len(pixels))
				w.pack(&spec, g, src, got, false)
				for i, v := range pixels {
					channel, plane := i%3, width*256
					if color == transform.RGB {
						channel = 2 - channel
					}
					bits := binary.LittleEndian.Uint32(got[4*(channel*plane+i/3):])
					if want := float32(spec.Value(channel, v)); math.Float32frombits(bits) != want {
						t.Fatalf("width %d, %s, %d/%v: %v, want %v", width, color, v, divisor, math.Float32frombits(bits), want)
					}
				}
			}
		}
	}
}

// TestPadding: every element around the picture is what the spec says, for each channel, as a
// pixel and as an element, in each type and layout, and again in memory that is used twice.
func TestPadding(t *testing.T) {
	w := NewWorker(Options{})
	defer w.Close()
	for _, dtype := range transform.DTypes() {
		for _, layout := range []transform.Layout{transform.NCHW, transform.NHWC} {
			for _, pixels := range []bool{true, false} {
				if !pixels && dtype == transform.Uint8 {
					continue
				}
				s := newOutput(t, "imagenet", func(s *transform.Spec) {
					s.Width, s.Height, s.Fit, s.Layout = 1100, 40, transform.Letterbox, layout
					setDType(s, dtype)
					s.PadChannels, s.PadNormalized = [3]float64{104, 117, 123}, !pixels
				}).Spec
				for range 2 {
					tensor := makeTensor(t, w, readPicture(t, "444.jpg"), s)
					size := dtype.Size()
					for c := range 3 {
						want := s.PadChannels[c]
						if pixels && dtype != transform.Uint8 {
							want = s.Value(c, uint8(want))
						}
						for _, pixel := range []int{0, 1099, 39 * 1100, 40*1100 - 1, 20*1100 + 100} {
							at := (c*1100*40 + pixel) * size
							if layout == transform.NHWC {
								at = (pixel*3 + c) * size
							}
							if got := wordOf(tensor.Data[at : at+size]); got != s.Element(want) {
								t.Errorf("%s %s, pixels %v: channel %d of pixel %d is %#x, want %v", dtype, layout, pixels, c, pixel, got, want)
							}
						}
					}
					tensor.Release()
				}
			}
		}
	}
}

// TestPackFloats: what is resized as floats becomes elements of every type as the float32
// elements of the same picture say, in each layout and order of channels.
func TestPackFloats(t *testing.T) {
	w := NewWorker(Options{})
	defer w.Close()
	for _, color := range transform.Colors() {
		for _, layout := range []transform.Layout{transform.NCHW, transform.NHWC} {
			tensor := func(d transform.DType, zero int) (transform.Spec, *transform.Tensor) {
				s := newOutput(t, "imagenet", func(s *transform.Spec) {
					s.Width, s.Height, s.Fit, s.Layout, s.Color = 70, 40, transform.Letterbox, layout, color
					s.Resize, s.ResizeDType = transform.TorchBicubic, transform.Float32
					setDType(s, d)
					if d.Size() == 1 {
						s.QuantScale, s.QuantZeroPoint = 1.0/64, zero
					}
				}).Spec
				return s, makeTensor(t, w, readPicture(t, "422.jpg"), s)
			}
			_, floats := tensor(transform.Float32, 0)
			for _, d := range transform.DTypes() {
				zero := map[transform.DType]int{transform.Int8: -20, transform.Uint8: 130}[d]
				s, got := tensor(d, zero)
				size := d.Size()
				for i := range len(got.Data) / size {
					value := math.Float32frombits(binary.LittleEndian.Uint32(floats.Data[4*i:]))
					if bits := wordOf(got.Data[i*size : (i+1)*size]); bits != s.Element(float64(value)) {
						t.Fatalf("%s %s %s: element %d is %#x, want %#x of %v", color, layout, d, i, bits, s.Element(float64(value)), value)
					}
				}
				got.Release()
			}
			floats.Release()
		}
	}
}

// wordOf returns an element's bits.
func wordOf(data []byte) uint32 {
	var word [4]byte
	copy(word[:], data)
	return binary.LittleEndian.Uint32(word[:])
}
