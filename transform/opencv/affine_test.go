package opencv

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	pngfile "image/png"
	"math"
	"testing"

	"github.com/cvfeeder/cvfeeder/transform"
)

// TestAffineSaysWhereThePixelsCameFrom: each pixel of the picture says where it is, in its
// colors, so each element of a tensor says where it came from. The affine has to say the same,
// for every way to resize, every ratio, and in both directions at once.
func TestAffineSaysWhereThePixelsCameFrom(t *testing.T) {
	const side = 120 // so that there are two steps of color for each pixel
	m := image.NewNRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			m.SetNRGBA(x, y, color.NRGBA{R: uint8(2 * x), G: uint8(2 * y), A: 255})
		}
	}
	var b bytes.Buffer
	if err := pngfile.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	w := NewWorker(Options{})
	defer w.Close()
	sides := []int{8, 12, 15, 24, 30, 33, 40, 48, 60, 71, 80, 97, 120, 150, 160, 180, 240, 350}
	for _, resize := range transform.Resizes() {
		for _, across := range sides {
			for _, down := range sides {
				s := newOutput(t, "none", func(s *transform.Spec) {
					s.Width, s.Height, s.Fit, s.Resize = across, down, transform.Stretch, resize
					s.DType, s.Layout = transform.Uint8, transform.NHWC
				}).Spec
				tensor := makeTensor(t, w, b.Bytes(), s)
				for axis, name := range []string{"x", "y"} {
					if mean, most := offBy(tensor, axis, side); math.Abs(mean) > 0.27 || most > 1+max(tensor.Affines[0][0], tensor.Affines[0][4])/2 {
						t.Errorf("%s to %dx%d: %s is off by %.2f on average, by %.2f at most", resize, across, down, name, mean, most)
					}
				}
				tensor.Release()
			}
		}
	}
}

// offBy returns how far the places that the elements of an axis hold are from those that the
// affine gives, on average and at most, but for the edges, where filters see less of the picture.
func offBy(t *transform.Tensor, axis, side int) (mean, most float64) {
	height, width := t.Shape[1], t.Shape[2]
	n := 0
	for y := range height {
		for x := range width {
			sx, sy := t.Affines[0].Apply(float64(x)+0.5, float64(y)+0.5)
			want := []float64{sx, sy}[axis]
			edge := 1 + 3*math.Max(1, t.Affines[0][4*axis])
			if t.Shape[2-axis] > 16 && (want < edge || want > float64(side)-edge) {
				continue
			}
			off := float64(t.Data[3*(y*width+x)+axis])/2 + 0.5 - want
			mean += off
			most = math.Max(most, math.Abs(off))
			n++
		}
	}
	if n == 0 {
		panic(fmt.Sprintf("nothing is left of %dx%d", width, height))
	}
	return mean / float64(n), most
}
