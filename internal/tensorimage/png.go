package tensorimage

import (
	"fmt"
	"image"
	"image/png"
	"io"
	"math"

	"github.com/cvfeeder/cvfeeder/transform"
)

// Image returns the picture as the model sees it: with the normalization undone, and
// with the bars of a letterbox. Values below 0 and above 255 are clipped. Of a tensor of several
// pictures, it shows all of them, side by side in [Tensor.Columns] columns.
func (t Tensor) Image() image.Image { return t.Sampled(math.MaxInt) }

// Sampled returns every n-th pixel of every n-th row of [Tensor.Image]. n is the smallest
// for which no side is longer than the limit.
func (t Tensor) Sampled(limit int) image.Image {
	e := t.envelope
	pictures, columns := e.Pictures(), t.Columns()
	rows := (pictures + columns - 1) / columns
	n := max((max(columns*e.Width(), rows*e.Height())-1)/limit+1, 1)
	one := image.Pt((e.Width()+n-1)/n, (e.Height()+n-1)/n)
	bounds := image.Rect(0, 0, columns*one.X, rows*one.Y)
	place := func(i int) image.Point { return image.Pt(i%columns*one.X, i/columns*one.Y) }
	if e.Color == transform.Gray {
		img := image.NewGray(bounds)
		for i := range pictures {
			t.fill(i, 0, img.Pix[img.PixOffset(place(i).X, place(i).Y):], 1, img.Stride, n)
		}
		return img
	}
	img := image.NewNRGBA(bounds)
	for i := range pictures {
		for c := range 3 {
			at := c
			if e.Color == transform.BGR {
				at = 2 - c
			}
			t.fill(i, c, img.Pix[img.PixOffset(place(i).X, place(i).Y)+at:], 4, img.Stride, n)
		}
	}
	for i := 3; i < len(img.Pix); i += 4 {
		img.Pix[i] = 0xff
	}
	return img
}

// fill writes every n-th pixel of every n-th row of channel c of a picture to pix, step bytes
// apart, in rows of stride bytes.
func (t Tensor) fill(picture, c int, pix []byte, step, stride, n int) {
	e := t.envelope
	first, apart := t.channel(picture, c)
	scale, shift := 1.0, 0.0
	if e.Normalized {
		scale, shift = e.Std[c]/e.Scale, e.Mean[c]/e.Scale
	}
	for y := 0; y < e.Height(); y += n {
		at := y / n * stride
		for x := 0; x < e.Width(); x += n {
			pix[at] = toByte(float64(t.value(first+(y*e.Width()+x)*apart)*scale) + shift)
			at += step
		}
	}
}

// toByte rounds v to the nearest of 0 to 255. NaN becomes 0.
func toByte(v float64) byte {
	switch {
	case v >= 255:
		return 255
	case v > 0:
		return byte(v + 0.5)
	default:
		return 0
	}
}

// EncodePNG writes [Tensor.Image] as a PNG file, compressed for speed.
func EncodePNG(w io.Writer, t Tensor) error {
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := encoder.Encode(w, t.Image()); err != nil {
		return fmt.Errorf("PNG: %w", err)
	}
	return nil
}
