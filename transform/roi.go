package transform

import (
	"errors"
	"fmt"
	"image"
	"math"
	"strconv"
	"strings"
)

// ParseROI reads "x,y,w,h". The numbers are fractions of the picture if none
// is above 1 and at least one has a decimal point ("0,0,0.5,1" is the left half);
// otherwise they are whole pixels ("0,0,1,1" is one pixel, "0.0,0,1,1" the whole
// picture). The empty string is the whole picture.
func ParseROI(text string) (ROI, error) {
	if strings.TrimSpace(text) == "" {
		return ROI{}, nil
	}
	parts := strings.Split(text, ",")
	if len(parts) != 4 {
		return ROI{}, fmt.Errorf(`roi %q has %d numbers: want four, "x,y,w,h" in pixels or fractions`, text, len(parts))
	}
	var v [4]float64
	fraction := strings.Contains(text, ".")
	for i, part := range parts {
		var err error
		if v[i], err = strconv.ParseFloat(strings.TrimSpace(part), 64); err != nil {
			return ROI{}, fmt.Errorf("roi %q: %q is not a number", text, strings.TrimSpace(part))
		}
		fraction = fraction && v[i] <= 1
	}
	r := ROI{X: v[0], Y: v[1], W: v[2], H: v[3], Fraction: fraction}
	if r.whole() {
		return ROI{}, fmt.Errorf("roi %q: %w", text, errEmptyROI)
	}
	if err := r.validate(); err != nil {
		return ROI{}, fmt.Errorf("roi %q: %w", text, err)
	}
	return r, nil
}

// String returns the ROI as [ParseROI] reads it.
func (r ROI) String() string {
	if r.whole() {
		return ""
	}
	format := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	text := strings.Join([]string{format(r.X), format(r.Y), format(r.W), format(r.H)}, ",")
	if r.Fraction && !strings.Contains(text, ".") {
		return text + ".0"
	}
	return text
}

// whole tells whether the ROI is the zero value: the whole picture.
func (r ROI) whole() bool { return r.X == 0 && r.Y == 0 && r.W == 0 && r.H == 0 }

// region returns the pixels of the ROI that lie in a picture of the given size.
// Each edge of a fraction is rounded on its own, so that neighbouring ROIs touch
// without overlapping.
func (r ROI) region(size image.Point) image.Rectangle {
	picture := image.Rectangle{Max: size}
	if r.whole() {
		return picture
	}
	sx, sy := 1.0, 1.0
	if r.Fraction {
		sx, sy = float64(size.X), float64(size.Y)
	}
	edge := func(v float64) int { return int(math.Floor(v + 0.5)) }
	region := image.Rectangle{
		Min: image.Pt(edge(float64(r.X*sx)), edge(float64(r.Y*sy))),
		Max: image.Pt(edge(float64((r.X+r.W)*sx)), edge(float64((r.Y+r.H)*sy))),
	}
	return region.Intersect(picture)
}

var errEmptyROI = errors.New("its width and height must be above 0")

// maxCoordinate limits a ROI in pixels: no JPEG is larger.
const maxCoordinate = 1 << 16

// validate returns the first thing that is wrong with the ROI.
func (r ROI) validate() error {
	if r.whole() {
		return nil
	}
	for _, v := range []float64{r.X, r.Y, r.W, r.H} {
		switch {
		case !finite(v) || v < 0 || v > maxCoordinate:
			return fmt.Errorf("%v is not between 0 and %d", v, maxCoordinate)
		case !r.Fraction && v != math.Trunc(v):
			return fmt.Errorf("%v is not a whole number: pixels are whole, and fractions are at most 1", v)
		case r.Fraction && v > 1:
			return fmt.Errorf("%v is above 1: fractions are parts of the picture", v)
		}
	}
	if r.W == 0 || r.H == 0 {
		return errEmptyROI
	}
	// The sum of two decimal fractions may exceed 1 by a rounding error.
	if r.Fraction && (r.X+r.W > 1+1e-9 || r.Y+r.H > 1+1e-9) {
		return errors.New("it reaches beyond the picture: x+w and y+h are at most 1")
	}
	return nil
}
