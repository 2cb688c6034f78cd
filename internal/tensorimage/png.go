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
// with the bars of a letterbox. Values below 0 and above 255 are clipped.
func (t Tensor) Image() image.Image { return t.Sampled(math.MaxInt) }

// Sampled returns every n-th pixel of every n-th row of [Tensor.Image]. n is the smallest
// for which no side is longer than the limit.
func (t Tensor) Sampled(limit int) image.Image {
	e := t.envelope
	n := max((max(e.Width(), e.Height())-1)/limit+1, 1)
	bounds := image.Rect(0, 0, (e.Width()+n-1)/n, (e.Height()+n-1)/n)
	if e.Color == transform.Gray {
		img := image.NewGray(bounds)
		t.fill(0, img.Pix, 1, n)
		return img
	}
	img := image.NewNRGBA(bounds)
	for c := range 3 {
		at := c
		if e.Color == transform.BGR {
			at = 2 - c
		}
		t.fill(c, img.Pix[at:], 4, n)
	}
	for i := 3; i < len(img.Pix); i += 4 {
		img.Pix[i] = 0xff
	}
	return img
}

// fill writes every n-th pixel of every n-th row of channel c to pix, step bytes apart.
func (t Tensor) fill(c int, pix []byte, step, n int) {
	e := t.envelope
	first, stride := t.channel(c)
	scale, shift := 1.0, 0.0
	if e.Normalized {
		scale, shift = e.Std[c]/e.Scale, e.Mean[c]/e.Scale
	}
	at := 0
	for y := 0; y < e.Height(); y += n {
		for x := 0; x < e.Width(); x += n {
			pix[at] = toByte(float64(t.value(first+(y*e.Width()+x)*stride)*scale) + shift)
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
