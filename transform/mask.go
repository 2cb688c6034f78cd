package transform

import (
	"errors"
	"fmt"
	"strings"
)

// A Mask is a part of a picture whose pixels are replaced before anything is made of it.
type Mask struct {
	// Polygon has the corners, in fractions of the picture's width and height. What is inside
	// is told by the even-odd rule: where edges cross, what is enclosed twice is outside.
	Polygon []Fraction
	// Fill is the red, green and blue that replaces the pixels, unless they are pixelated.
	Fill [3]uint8
	// Pixelate, unless 0, is the side of the blocks that are replaced by their mean instead, in
	// pixels of the picture: a multiple of 8, so that every scale that pictures are decoded at
	// has whole blocks.
	Pixelate int
}

// A Fraction is a point of a picture: (0, 0) is its top-left corner, and (1, 1) the
// bottom-right one.
type Fraction struct{ X, Y float64 }

// The limits of masks: they bound what it takes to find their pixels, and what a picture may
// look like under them.
const (
	MaxMasks    = 64 // of a camera
	MaxCorners  = 256
	MinPixelate = 8
	MaxPixelate = 512
)

// BoxPolygon returns the corners of a box, which is [x y w h] in fractions.
func BoxPolygon(b [4]float64) []Fraction {
	x, y, right, bottom := b[0], b[1], b[0]+b[2], b[1]+b[3]
	// The sum of two decimal fractions may exceed 1 by a rounding error.
	const slack = 1e-9
	if right > 1 && right <= 1+slack {
		right = 1
	}
	if bottom > 1 && bottom <= 1+slack {
		bottom = 1
	}
	return []Fraction{{x, y}, {right, y}, {right, bottom}, {x, bottom}}
}

// Validate returns the first thing that is wrong with the mask.
func (m *Mask) Validate() error {
	switch n := len(m.Polygon); {
	case n < 3:
		return fmt.Errorf("a polygon of %d points has no inside; at least 3", n)
	case n > MaxCorners:
		return fmt.Errorf("a polygon of %d points; at most %d", n, MaxCorners)
	}
	flatX, flatY := true, true
	for _, p := range m.Polygon {
		if !(p.X >= 0 && p.X <= 1 && p.Y >= 0 && p.Y <= 1) { // NaN is not, either
			return fmt.Errorf("the point %v is outside of the picture; fractions of its width and height, from 0 to 1", p)
		}
		flatX, flatY = flatX && p.X == m.Polygon[0].X, flatY && p.Y == m.Polygon[0].Y
	}
	if flatX || flatY {
		return errors.New("all points are on one line, so nothing is inside")
	}
	if m.Pixelate != 0 && (m.Pixelate < MinPixelate || m.Pixelate > MaxPixelate || m.Pixelate%8 != 0) {
		return fmt.Errorf("blocks of %d pixels; a multiple of 8 from %d to %d", m.Pixelate, MinPixelate, MaxPixelate)
	}
	return nil
}

// String returns the point as the config has it: "[0.1, 0.2]".
func (f Fraction) String() string { return fmt.Sprintf("[%g, %g]", f.X, f.Y) }

// String says in a line what is masked, and how.
func (m *Mask) String() string {
	corners := make([]string, len(m.Polygon))
	for i, p := range m.Polygon {
		corners[i] = p.String()
	}
	how := fmt.Sprintf("filled with %d,%d,%d", m.Fill[0], m.Fill[1], m.Fill[2])
	if m.Pixelate > 0 {
		how = fmt.Sprintf("pixelated in blocks of %d", m.Pixelate)
	}
	return fmt.Sprintf("%s, %s", strings.Join(corners, " "), how)
}
