package transform

import (
	"errors"
	"fmt"
	"image"
)

// An Encoding is what a picture becomes: a tensor, or a picture again.
type Encoding string

// The encodings. The zero value is [EncodeTensor].
const (
	// EncodeTensor makes a tensor.
	EncodeTensor Encoding = "tensor"
	// EncodeOriginal keeps the bytes as they came from the service, which are not decoded.
	EncodeOriginal Encoding = "original"
	// EncodeJPEG makes a JPEG with 4:2:0 subsampling, as libjpeg does by default.
	EncodeJPEG Encoding = "jpeg"
	// EncodeWebP makes a lossy WebP.
	EncodeWebP Encoding = "webp"
	// EncodePNG makes a PNG.
	EncodePNG Encoding = "png"
)

// Encodings returns the values of [Encoding]; the first is the zero value's.
func Encodings() []Encoding {
	return []Encoding{EncodeTensor, EncodeOriginal, EncodeJPEG, EncodeWebP, EncodePNG}
}

// The media types of pictures.
const (
	TypeJPEG = "image/jpeg"
	TypePNG  = "image/png"
	TypeWebP = "image/webp"
)

// Type returns the media type of what is encoded; "" for tensors, and for the original, whose
// type is the service's choice.
func (e Encoding) Type() string {
	switch e {
	case EncodeJPEG:
		return TypeJPEG
	case EncodePNG:
		return TypePNG
	case EncodeWebP:
		return TypeWebP
	}
	return ""
}

// Pictures tells whether the spec makes pictures, and not tensors. What is about elements and
// their order then has no meaning: Scale, Mean, Std, DType, Layout.
func (s *Spec) Pictures() bool { return s.Encode != "" }

// Decodes tells whether a frame has to be decoded for the spec.
func (s *Spec) Decodes() bool { return s.Encode != EncodeOriginal }

// EncodeQuality returns the quality of a JPEG or WebP: from 1 to 100, by default 90 and 80.
func (s *Spec) EncodeQuality() int {
	switch {
	case s.Quality > 0:
		return s.Quality
	case s.Encode == EncodeWebP:
		return 80
	}
	return 90
}

// pictureBytes returns how many bytes an encoded picture of a size takes at most, as a budget:
// that of its pixels.
func (s *Spec) pictureBytes(size image.Point) int { return size.X * size.Y * s.Color.Channels() }

// validateEncode checks the keys that belong to pictures only.
func (s *Spec) validateEncode(check func(key string, err error)) {
	if s.Encode != "" {
		check("encode", oneOf(s.Encode, Encodings()))
	}
	switch lossy := s.Encode == EncodeJPEG || s.Encode == EncodeWebP; {
	case s.Quality != 0 && !lossy:
		check("quality", errors.New("only encode: jpeg and webp have a quality: remove it, or change encode"))
	case s.Quality < 0 || s.Quality > 100:
		check("quality", fmt.Errorf("%d is out of range: 1 to 100, or 0 for the encoding's own", s.Quality))
	}
	if !s.Pictures() {
		return
	}
	if s.Tiles != (Tiles{}) {
		check("tiles", fmt.Errorf("a message carries one picture with encode: %s: remove tiles, or make an output of each roi", s.Encode))
	}
	if s.PadNormalized {
		check("pad_normalized", fmt.Errorf("encode: %s makes pictures, which are not normalized: remove it", s.Encode))
	}
	if s.Encode == EncodeOriginal && (s.Width != 0 || s.ROI != ROI{} || s.ComputesSize()) {
		check("encode", errors.New("the original is the whole picture as it came: remove size, roi and resize_to, or make a jpeg of it"))
	}
}
