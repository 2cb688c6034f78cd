package transform

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// maxSide is the largest width and height of a tensor.
const maxSide = 8192

// Fits returns the values of [Fit].
func Fits() []Fit { return []Fit{Letterbox, Stretch, Crop, ShortSide} }

// Resizes returns the values of [Resize].
func Resizes() []Resize {
	return []Resize{
		OpenCVNearest, OpenCVLinear, OpenCVCubic, OpenCVArea,
		PillowBilinear, PillowBicubic, PillowLanczos,
	}
}

// Colors returns the values of [Color].
func Colors() []Color { return []Color{RGB, BGR, Gray} }

// Layouts returns the values of [Layout].
func Layouts() []Layout { return []Layout{NCHW, NHWC} }

// DecodeModes returns the values of [DecodeMode].
func DecodeModes() []DecodeMode { return []DecodeMode{DecodeExact, DecodeFast} }

// A FieldError is one thing that is wrong with a [Spec].
type FieldError struct {
	// Key is the field's name in the config file: "size", "fit", "std".
	Key string
	// Err says what is wrong, and what is allowed.
	Err error
}

// Error implements error.
func (e *FieldError) Error() string { return e.Key + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *FieldError) Unwrap() error { return e.Err }

// Validate returns everything that is wrong with the spec: nil, or [*FieldError] values
// joined by [errors.Join], in the order of the fields.
func (s *Spec) Validate() error {
	var errs []error
	check := func(key string, err error) {
		if err != nil {
			errs = append(errs, &FieldError{Key: key, Err: err})
		}
	}
	check("size", s.validateSize())
	check("fit", oneOf(s.Fit, Fits()))
	check("resize", oneOf(s.Resize, Resizes()))
	check("color", oneOf(s.Color, Colors()))
	check("roi", s.ROI.validate())
	numbers := len(errs)
	if s.Scale == 0 || !finite(s.Scale) {
		check("scale", fmt.Errorf("%v must be a number other than 0, such as 1/255", s.Scale))
	}
	for _, m := range s.Mean {
		if !finite(m) {
			check("mean", fmt.Errorf("%v is not a finite number", m))
		}
	}
	for _, d := range s.Std {
		if d == 0 || !finite(d) {
			check("std", fmt.Errorf("%v must be a number other than 0: values are divided by it", d))
		}
	}
	dtype := oneOf(s.DType, DTypes())
	if dtype == nil && numbers == len(errs) {
		dtype = s.validateRange()
	}
	check("dtype", dtype)
	check("layout", oneOf(s.Layout, Layouts()))
	check("decode", oneOf(s.Decode, DecodeModes()))
	return errors.Join(errs...)
}

// validateSize checks the tensor's size.
func (s *Spec) validateSize() error {
	switch {
	case s.Width == 0 && s.Height == 0:
		return nil
	case s.Width < 1 || s.Height < 1 || s.Width > maxSide || s.Height > maxSide:
		return fmt.Errorf("%dx%d: width and height must be 1 to %d, or both 0 for the picture's own size",
			s.Width, s.Height, maxSide)
	}
	return nil
}

// validateRange checks that the element type can hold every normalized pixel.
func (s *Spec) validateRange() error {
	if s.DType == Uint8 {
		return nil // it holds the pixels as they are
	}
	largest := s.DType.row().most
	for c := range s.Color.Channels() {
		for _, pixel := range []int{0, 255} {
			if v := s.Value(c, uint8(pixel)); math.Abs(v) > largest || math.IsNaN(v) {
				return fmt.Errorf("%s cannot hold %.6g, which a pixel of %d becomes: it ends at %.6g", s.DType, v, pixel, largest)
			}
		}
	}
	return nil
}

// oneOf checks that v is one of the values.
func oneOf[T ~string](v T, values []T) error {
	if slices.Contains(values, v) {
		return nil
	}
	return fmt.Errorf("unknown %q: one of %v", string(v), values)
}

// finite tells whether v is neither infinite nor NaN.
func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
