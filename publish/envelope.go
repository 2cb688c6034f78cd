package publish

import (
	"fmt"
	"image"
	"math"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/transform"
)

// Limits for the values that a consumer accepts in headers.
const (
	maxSide  = 1 << 16 // pixels
	maxBytes = 1 << 30
	maxText  = 1 << 10

	maxPictures = 1 << 10 // in a tensor
)

// An Envelope is what the headers of a message with a tensor or a picture say.
type Envelope struct {
	// ContentType is the media type of a picture, such as image/jpeg, and "" for a tensor. A
	// picture has neither a DType nor a Layout, and is not normalized.
	ContentType string
	// Length is the size of a picture's payload in bytes.
	Length         int
	Stream, Output string
	// Time is the slot. Capture is the service's own timestamp of the picture.
	Time, Capture time.Time
	DType         transform.DType
	// Shape has four positive entries: [N C H W] for NCHW, [N H W C] for NHWC. N is 1, or the
	// number of tiles. That of a picture is [H W C], and that of a clip of T frames [1 C T H W],
	// [1 T C H W] or [1 T H W C], as its layout says.
	Shape  []int
	Layout transform.Layout
	Color  transform.Color
	// Source is the size of the decoded picture in pixels.
	Source image.Point
	// Affine maps the pixels of the tensor's first picture to the source's. Affines has the map
	// of each picture.
	Affine  transform.Affine
	Affines []transform.Affine
	// Clip has the slots of the frames of a clip, and which were missing; nil for any other tensor.
	// Time is the slot of the last one, and all have the same map.
	Clip []transform.ClipFrame
	// Rows are those of a batch across cameras; nil for any other tensor. Stream is then the name
	// of the batch, and each row has a Source of its own.
	Rows []Row
	// Map maps the source's pixels to those of the camera's picture, where the source is
	// rectified; otherwise it is nil.
	Map *transform.Rectification
	// Scale, Mean and Std are the normalization: value = (pixel*Scale - Mean) / Std.
	// Mean and Std have one number for each channel. Scale and Std are not 0.
	Scale     float64
	Mean, Std []float64
	// Normalized is true if the elements are normalized already, and false if they are
	// pixels that the consumer must normalize.
	Normalized bool
	// QuantScale and QuantZeroPoint are the quantization: the value of an element is
	// (element - QuantZeroPoint) * QuantScale. A QuantScale of 0 is none.
	QuantScale     float64
	QuantZeroPoint int
	// Late is true if the message comes after newer ones: the slot had been announced as a gap
	// before, or a burst looks back.
	Late bool
	// Since is the slot that was published before this one, if the output has a gate: between
	// them nothing new was seen. It is zero otherwise, and for the first.
	Since time.Time
	// Quality is how good the camera's pictures are, nil if the message does not say.
	Quality *Quality
	// Burst is the burst that the message belongs to, or "" if it belongs to none.
	Burst string
	// Spec is the fingerprint of how the tensor was made.
	Spec string
	// Traceparent is the W3C trace context of the span that published the tensor, or ""
	// if the header is missing or invalid.
	Traceparent string
}

// ParseEnvelope reads the headers of a tensor message. The result is consistent,
// whoever sent the message. Call [Envelope.Check] before using the payload: it says
// whether the payload is as long as the headers say.
func ParseEnvelope(h map[string][]string) (Envelope, error) {
	f := fields{header: h}
	f.version()
	e := Envelope{
		Stream:  f.text(HeaderStream),
		Output:  f.text(HeaderOutput),
		Time:    f.time(HeaderTime),
		Capture: f.time(HeaderCapture),
		Color: oneOf(&f, HeaderColor, map[string]transform.Color{
			"RGB": transform.RGB, "BGR": transform.BGR, "GRAY": transform.Gray,
		}),
		Late: len(h[HeaderLate]) > 0,
		Spec: f.text(HeaderSpec),

		Traceparent: traceparent(h),
	}
	if _, ok := h[HeaderBatch]; ok {
		e.Rows = f.batch()
	} else {
		e.Source = f.size(HeaderSource, f.text(HeaderSource))
	}
	if e.Affines = f.affines(HeaderAffine); f.err == nil {
		e.Affine = e.Affines[0]
	}
	if _, ok := h[HeaderSince]; ok {
		e.Since = f.time(HeaderSince)
	}
	if _, ok := h[HeaderQuality]; ok {
		e.Quality = f.quality()
	}
	if _, ok := h[HeaderMap]; ok {
		text := f.text(HeaderMap)
		if m, err := transform.ParseRectification(text); err == nil {
			e.Map = m
		} else if f.err == nil {
			f.err = fmt.Errorf("header %s: %w", HeaderMap, err)
		}
	}
	if _, ok := h[HeaderBurst]; ok {
		e.Burst = f.text(HeaderBurst)
	}
	if _, ok := h[HeaderType]; ok {
		e.ContentType = f.text(HeaderType)
		e.Length = f.count(HeaderLength)
		e.Shape = f.sides(HeaderShape, ",", 3)
	} else {
		e.tensor(&f)
	}
	if f.err != nil {
		return Envelope{}, f.err
	}
	if err := e.validate(); err != nil {
		return Envelope{}, err
	}
	return e, nil
}

// tensor reads the headers that only a tensor has.
func (e *Envelope) tensor(f *fields) {
	channels := e.Color.Channels()
	e.DType = f.dtype(HeaderDType)
	e.Layout = oneOf(f, HeaderLayout, map[string]transform.Layout{
		"NCHW": transform.NCHW, "NHWC": transform.NHWC,
		"NCTHW": transform.NCTHW, "NTCHW": transform.NTCHW, "NTHWC": transform.NTHWC,
	})
	if _, ok := f.header[HeaderClip]; ok {
		e.Clip = f.clip(HeaderClip)
		e.Shape = f.sides(HeaderShape, ",", 5)
	} else {
		e.Shape = f.sides(HeaderShape, ",", 4)
	}
	if scale := f.floats(HeaderScale, 1); f.err == nil {
		e.Scale = scale[0]
	}
	e.Mean = f.floats(HeaderMean, channels)
	e.Std = f.floats(HeaderStd, channels)
	e.Normalized = true
	if _, ok := f.header[HeaderNormalized]; ok {
		e.Normalized = oneOf(f, HeaderNormalized, map[string]bool{"true": true, "false": false})
	}
	if _, ok := f.header[HeaderQuantScale]; ok {
		e.quantization(f)
	}
}

// quantization reads the headers of a quantized tensor.
func (e *Envelope) quantization(f *fields) {
	scale, zero := f.floats(HeaderQuantScale, 1), f.floats(HeaderQuantZero, 1)
	if f.err == nil {
		e.QuantScale, e.QuantZeroPoint = scale[0], int(zero[0])
	}
	switch {
	case f.err != nil:
	case e.DType.Size() != 1 || !(e.QuantScale > 0):
		f.fail(HeaderQuantScale, "not a positive number for elements of 8 bits")
	case zero[0] != math.Trunc(zero[0]) || math.Abs(zero[0]) > 255:
		f.fail(HeaderQuantZero, "not a whole number that 8 bits can hold")
	}
}

// validate checks what no header shows on its own.
func (e Envelope) validate() error {
	channels := e.Color.Channels()
	n, c, _, _ := e.dims()
	if n < 1 || n > maxPictures || c != channels {
		return fmt.Errorf("header %s: %v is not 1 to %d pictures with %d channels in %s", HeaderShape, e.Shape, maxPictures, channels, e.Layout)
	}
	if len(e.Shape) == 5 && len(e.Clip) != n {
		return fmt.Errorf("header %s: has %d frames, and the shape %v has %d", HeaderClip, len(e.Clip), e.Shape, n)
	}
	if maps := len(e.Affines); e.Clip == nil && maps != n || e.Clip != nil && maps != 1 {
		return fmt.Errorf("header %s: has %d maps for %d pictures", HeaderAffine, maps, n)
	}
	if e.Rows != nil && len(e.Rows) != n {
		return fmt.Errorf("header %s: has %d streams for %d rows", HeaderBatch, len(e.Rows), n)
	}
	if e.ContentType != "" {
		return e.validatePicture()
	}
	if e.Scale == 0 {
		return fmt.Errorf("header %s: must not be 0", HeaderScale)
	}
	for _, std := range e.Std {
		if std == 0 {
			return fmt.Errorf("header %s: must not be 0", HeaderStd)
		}
	}
	if e.Bytes() > maxBytes {
		return fmt.Errorf("header %s: %v of %s is more than %d bytes", HeaderShape, e.Shape, e.DType, maxBytes)
	}
	return nil
}

// pictureTypes are the media types of pictures.
var pictureTypes = [...]string{transform.TypeJPEG, transform.TypePNG, transform.TypeWebP}

func (e Envelope) validatePicture() error {
	if !slices.Contains(pictureTypes[:], e.ContentType) {
		return fmt.Errorf("header %s: %.40q is not one of %v", HeaderType, e.ContentType, pictureTypes)
	}
	if e.Color == transform.BGR {
		return fmt.Errorf("header %s: an encoded picture is RGB or GRAY, not BGR", HeaderColor)
	}
	if int64(e.Width())*int64(e.Height())*int64(e.Color.Channels()) > maxBytes {
		return fmt.Errorf("header %s: %v is more than %d bytes when it is decoded", HeaderShape, e.Shape, maxBytes)
	}
	if e.Length > maxBytes {
		return fmt.Errorf("header %s: %d is more than %d bytes", HeaderLength, e.Length, maxBytes)
	}
	return nil
}

// dims returns the numbers of pictures, channels, rows and columns: all 0 for the
// zero value.
func (e Envelope) dims() (n, c, h, w int) {
	s := e.Shape
	switch {
	case len(s) == 3: // an encoded picture
		return 1, s[2], s[0], s[1]
	case len(s) == 4 && e.Layout == transform.NCHW:
		return s[0], s[1], s[2], s[3]
	case len(s) == 4 && e.Layout == transform.NHWC:
		return s[0], s[3], s[1], s[2]
	case len(s) == 5 && s[0] == 1 && e.Layout == transform.NCTHW:
		return s[2], s[1], s[3], s[4]
	case len(s) == 5 && s[0] == 1 && e.Layout == transform.NTCHW:
		return s[1], s[2], s[3], s[4]
	case len(s) == 5 && s[0] == 1 && e.Layout == transform.NTHWC:
		return s[1], s[4], s[2], s[3]
	}
	return 0, 0, 0, 0
}

// Pictures returns how many pictures the tensor has: 1, or as many as there are tiles, or rows
// of a batch, or frames of a clip.
func (e Envelope) Pictures() int { n, _, _, _ := e.dims(); return n }

// Width returns the width of the tensor's pictures in pixels.
func (e Envelope) Width() int { _, _, _, w := e.dims(); return w }

// Height returns the height of the tensor's pictures in pixels.
func (e Envelope) Height() int { _, _, h, _ := e.dims(); return h }

// Bytes returns the length of the payload in bytes, according to the headers.
func (e Envelope) Bytes() int64 {
	if e.ContentType != "" {
		return int64(e.Length)
	}
	n, c, h, w := e.dims()
	return int64(n) * int64(c) * int64(h) * int64(w) * int64(e.DType.Size())
}

// Check returns an error unless a payload of n bytes is as long as the headers say.
func (e Envelope) Check(n int) error {
	want := e.Bytes()
	if int64(n) != want && e.ContentType != "" {
		return fmt.Errorf("the payload has %d bytes, and header %s says %d", n, HeaderLength, want)
	}
	if int64(n) != want {
		return fmt.Errorf("the payload has %d bytes, but %v of %s needs %d", n, e.Shape, e.DType, want)
	}
	return nil
}
