package transform

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"math"
	"slices"
)

// maxSide is the largest width and height of a tensor.
const maxSide = 8192

// Fits returns the values of [Fit].
func Fits() []Fit { return []Fit{Letterbox, Stretch, Crop, ShortSide, LongSide, SmartResize} }

// Auto is the word for a [Rounding] that is left to the fit, as its zero value is.
const Auto Rounding = "auto"

// SizeRoundings returns the values of [Spec.SizeRounding]; the first is the zero value's.
func SizeRoundings() []Rounding { return []Rounding{Auto, HalfEven, HalfUp, Floor} }

// CropRoundings returns the values of [Spec.CropRounding]; the first is the zero value's.
func CropRoundings() []Rounding { return []Rounding{Auto, HalfEven, Floor} }

// Aligns returns the values of [Align]; the first is the zero value's.
func Aligns() []Align { return []Align{Center, TopLeft} }

// Resizes returns the values of [Resize].
func Resizes() []Resize {
	return []Resize{
		OpenCVNearest, OpenCVLinear, OpenCVCubic, OpenCVArea,
		PillowBilinear, PillowBicubic, PillowLanczos,
		TorchBilinear, TorchBicubic,
	}
}

// ResizeDTypes returns the values of [Spec.ResizeDType]; the first is the zero value's.
func ResizeDTypes() []DType { return []DType{Uint8, Float32} }

// ofTorch tells whether PyTorch resizes.
func (r Resize) ofTorch() bool { return r == TorchBilinear || r == TorchBicubic }

// ResizesFloats tells whether the resized picture has pixels that are not whole numbers.
func (s *Spec) ResizesFloats() bool { return s.Resize.ofTorch() && s.ResizeDType == Float32 }

// Colors returns the values of [Color].
func Colors() []Color { return []Color{RGB, BGR, Gray} }

// Layouts returns the values of [Layout].
func Layouts() []Layout { return []Layout{NCHW, NHWC, NCTHW, NTCHW, NTHWC} }

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
	s.validateFit(check)
	s.validatePad(check)
	check("resize", oneOf(s.Resize, Resizes()))
	s.validateTorch(check)
	check("color", oneOf(s.Color, Colors()))
	check("roi", s.ROI.validate())
	check("tiles", s.Tiles.validate())
	if s.Clip != (Clip{}) && (s.Tiles != Tiles{} || s.Pictures()) {
		check("clip", errors.New("a clip is a tensor of whole frames: remove tiles and encode"))
	} else if !s.Pictures() {
		check("clip", s.Clip.validate(s.Layout))
	}
	s.validateEncode(check)
	if s.Pictures() {
		check("decode", oneOf(s.Decode, DecodeModes()))
		return errors.Join(errs...)
	}
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
	s.validateQuantization(check)
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

// validateFit checks the keys that belong to some fits only.
func (s *Spec) validateFit(check func(key string, err error)) {
	sized, box := s.Width > 0, s.ResizeTo != image.Point{}
	only := func(key string, set, allowed bool, where string) {
		if set && !allowed {
			check(key, fmt.Errorf("it belongs to %s: remove it, or change fit, which is %s", where, s.Fit))
		}
	}
	only("resize_to", box, s.Fit == ShortSide || s.Fit == Stretch && sized || s.Fit == LongSide && !sized,
		"fit: short-side, stretch with a size, and long-side")
	only("crop", s.CropRatio != 0, (s.Fit == ShortSide || s.Fit == Stretch) && sized, "fit: short-side and stretch, with a size")
	only("max_side", s.MaxSide != 0, s.Fit == ShortSide && !sized && box, "fit: short-side with resize_to and without a size")
	only("multiple_of", s.MultipleOf != 0, s.ComputesSize(), "fit: smart-resize, and short-side and long-side with resize_to and without a size")
	only("min_pixels", s.MinPixels != 0, s.Fit == SmartResize, "fit: smart-resize")
	only("max_pixels", s.MaxPixels != 0, s.Fit == SmartResize, "fit: smart-resize")
	only("scale_up", s.NoScaleUp, s.Fit == Letterbox || s.Fit == LongSide, "fit: letterbox and long-side")
	only("align", s.Align == TopLeft, s.Fit == Letterbox || s.ComputesSize(), "fit: letterbox, and tensors that are padded to multiple_of")
	only("size_rounding", s.SizeRounding != "", s.Fit != Stretch && s.Fit != SmartResize && s.MaxSide == 0, "fits that keep the aspect ratio without max_side")
	only("crop_rounding", s.CropRounding != "", sized && (s.Fit == Crop || s.Fit == ShortSide || s.Fit == Stretch), "fit: crop, short-side and stretch, with a size")
	switch {
	case s.Fit == LongSide && !box:
		check("resize_to", errors.New("fit: long-side needs it: what the long side becomes, in pixels"))
	case (s.Fit == LongSide || s.Fit == SmartResize) && sized:
		check("size", fmt.Errorf("with fit: %s the size follows from the picture: set it to \"\"", s.Fit))
	case box && s.CropRatio != 0:
		check("crop", errors.New("resize_to says it already: remove one of them"))
	case box && sized && (s.ResizeTo.X < s.Width || s.ResizeTo.Y < s.Height) && s.Fit != LongSide:
		check("resize_to", fmt.Errorf("%s is smaller than the size %dx%d that is cut out of it: make it larger, or set crop in its place", FormatBox(s.ResizeTo), s.Width, s.Height))
	}
	s.validateBounds(check)
}

// validateBounds checks the numbers of those keys.
func (s *Spec) validateBounds(check func(key string, err error)) {
	within := func(key string, v, least, most int) {
		if v != 0 && (v < least || v > most) {
			check(key, fmt.Errorf("%d is out of range: %d to %d, or 0 for none", v, least, most))
		}
	}
	if b := s.ResizeTo; b != (image.Point{}) && (b.X < 1 || b.Y < 1 || b.X > maxSide || b.Y > maxSide) {
		check("resize_to", fmt.Errorf("%dx%d: width and height must be 1 to %d", b.X, b.Y, maxSide))
	}
	if c := s.CropRatio; c != 0 && (!finite(c) || c < 0.1 || c > 2) {
		check("crop", fmt.Errorf("%v is out of range: 0.1 to 2, such as 0.875, or 0 for none", c))
	}
	within("max_side", s.MaxSide, max(s.ResizeTo.X, s.ResizeTo.Y), maxSide)
	within("multiple_of", s.MultipleOf, 1, 512)
	within("min_pixels", s.MinPixels, 1, maxSide*maxSide)
	within("max_pixels", s.MaxPixels, 1, maxSide*maxSide)
	if f := max(s.MultipleOf, 1); s.MaxPixels > 0 && s.MaxPixels < max(s.MinPixels, f*f) {
		check("max_pixels", fmt.Errorf("%d is less than min_pixels, %d, or than the smallest tensor, %dx%d: make it larger", s.MaxPixels, s.MinPixels, f, f))
	}
	check("size_rounding", oneOf(cmp.Or(s.SizeRounding, Auto), SizeRoundings()))
	check("crop_rounding", oneOf(cmp.Or(s.CropRounding, Auto), CropRoundings()))
	check("align", oneOf(cmp.Or(s.Align, Center), Aligns()))
}

// validatePad checks the padding.
func (s *Spec) validatePad(check func(key string, err error)) {
	for _, v := range s.PadChannels {
		if finite(v) && (s.PadNormalized || v >= 0 && v <= 255 && v == math.Trunc(v)) {
			continue
		}
		what := "a whole number from 0 to 255; with pad_normalized: true it may be any number"
		if s.PadNormalized {
			what = "a finite number"
		}
		check("pad", fmt.Errorf("%v is not %s", v, what))
		break
	}
	if s.PadNormalized && s.Raw() {
		check("pad_normalized", errors.New("dtype: uint8 without quant_scale is not normalized: remove it, or choose another dtype"))
	}
}

// validateTorch checks the keys that belong to PyTorch's ways to resize.
func (s *Spec) validateTorch(check func(key string, err error)) {
	const only = "it belongs to resize: torch-bilinear and torch-bicubic: remove it, or change resize, which is %s"
	if s.NoAntialias && !s.Resize.ofTorch() {
		check("antialias", fmt.Errorf(only, s.Resize))
	}
	err := oneOf(cmp.Or(s.ResizeDType, Uint8), ResizeDTypes())
	switch {
	case err != nil:
	case s.ResizeDType != "" && !s.Resize.ofTorch():
		err = fmt.Errorf(only, s.Resize)
	case s.ResizesFloats() && s.Pictures():
		err = fmt.Errorf("encode: %s makes pictures of bytes: remove it", s.Encode)
	case s.ResizesFloats() && s.Raw():
		err = errors.New("dtype: uint8 cannot hold what is not rounded: remove it, or choose another dtype")
	}
	check("resize_dtype", err)
}

// validateQuantization checks the keys of int8 and uint8 tensors.
func (s *Spec) validateQuantization(check func(key string, err error)) {
	r := s.DType.row()
	switch scale := s.QuantScale; {
	case s.DType == Int8 && scale == 0:
		check("quant_scale", errors.New("dtype: int8 needs it: the scale of the model's input, such as 1/255"))
	case scale != 0 && r.size != 1:
		check("quant_scale", fmt.Errorf("dtype: %s is not quantized: remove it, or set dtype to int8 or uint8", s.DType))
	case scale != 0 && (!(scale > 0) || float32(scale) == 0 || math.IsInf(float64(float32(scale)), 0)):
		check("quant_scale", fmt.Errorf("%v is not a positive number that a float32 can hold", scale))
	}
	switch zero := float64(s.QuantZeroPoint); {
	case zero != 0 && s.QuantScale == 0:
		check("quant_zero_point", errors.New("it belongs to quant_scale: remove it, or set that, too"))
	case s.QuantScale != 0 && r.size == 1 && (zero < r.least || zero > r.most):
		check("quant_zero_point", fmt.Errorf("%d is out of the range of %s: %v to %v", s.QuantZeroPoint, s.DType, r.least, r.most))
	}
}

// validateRange checks that the element type can hold every normalized pixel.
func (s *Spec) validateRange() error {
	if s.Raw() {
		return nil
	}
	largest := s.DType.row().most
	if s.QuantScale != 0 {
		largest = math.MaxFloat32 // what is larger than the type holds is clamped
	}
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
