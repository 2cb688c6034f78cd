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
