package scene

import (
	"image"
	"image/color"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

// A canvas is a picture that is painted in the colour space of JPEG, so that encoding
// needs no conversion.
type canvas struct{ *image.YCbCr }

func newCanvas(size image.Point) canvas {
	return canvas{image.NewYCbCr(image.Rectangle{Max: size}, image.YCbCrSubsampleRatio420)}
}

func (c canvas) clone() canvas {
	out := newCanvas(c.Rect.Size())
	copy(out.Y, c.Y)
	copy(out.Cb, c.Cb)
	copy(out.Cr, c.Cr)
	return out
}

func ycc(r, g, b uint8) color.YCbCr {
	y, cb, cr := color.RGBToYCbCr(r, g, b)
	return color.YCbCr{Y: y, Cb: cb, Cr: cr}
}

func (c canvas) set(x, y int, col color.YCbCr) {
	c.Y[c.YOffset(x, y)] = col.Y
	i := c.COffset(x, y)
	c.Cb[i], c.Cr[i] = col.Cb, col.Cr
}

// fill paints a rectangle.
func (c canvas) fill(r image.Rectangle, col color.YCbCr) {
	r = r.Intersect(c.Rect)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			c.set(x, y, col)
		}
	}
}

// disc paints a filled circle.
func (c canvas) disc(centre image.Point, radius int, col color.YCbCr) {
	for dy := -radius; dy <= radius; dy++ {
		half := int(math.Sqrt(float64(radius*radius - dy*dy)))
		c.fill(image.Rect(centre.X-half, centre.Y+dy, centre.X+half+1, centre.Y+dy+1), col)
	}
}

// textSize returns the size of text in pixels if each pixel of the font is scale wide and
// high.
func textSize(text string, scale int) image.Point {
	f := basicfont.Face7x13
	return image.Pt(len(text)*f.Advance, f.Height).Mul(scale)
}

// text writes text with its top-left corner at the given point.
func (c canvas) text(at image.Point, text string, scale int, col color.YCbCr) {
	mask := image.NewAlpha(image.Rectangle{Max: textSize(text, 1)})
	d := font.Drawer{
		Dst: mask, Src: image.Opaque, Face: basicfont.Face7x13,
		Dot: fixed.P(0, basicfont.Face7x13.Ascent),
	}
	d.DrawString(text)
	for i, a := range mask.Pix {
		if a != 0 {
			p := image.Pt(i%mask.Stride, i/mask.Stride).Mul(scale).Add(at)
			c.fill(image.Rectangle{p, p.Add(image.Pt(scale, scale))}, col)
		}
	}
}
