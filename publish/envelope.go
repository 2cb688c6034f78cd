package publish

import (
	"fmt"
	"image"
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

// An Envelope is what the headers of a tensor message say, or of one with an encoded picture.
type Envelope struct {
	Stream, Output string
	// Time is the slot. Capture is the service's own timestamp of the picture.
	Time, Capture time.Time
	DType         transform.DType
	// ContentType is image/jpeg, image/png or image/webp if the payload is an encoded picture, and
	// "" if it has elements. DType, Layout ("hwc") and the normalization are then those of its
	// pixels.
	ContentType string
	// Shape has a positive entry for each letter of Layout: [N C H W] for NCHW, where N is 1, or
	// the number of tiles, or of rows of a batch. A clip, whose layout is NCTHW, NTCHW or NTHWC,
	// has T frames.
	Shape  []int
	Layout transform.Layout
	Color  transform.Color
	// Frames are those of a clip in order; nil if it is none.
	Frames []Frame
	// Rows are those of a batch across cameras; nil if it is none. Stream is then the batch's
	// name, and each row has a Source of its own.
	Rows []Row
	// Source is the size of the decoded picture in pixels.
	Source image.Point
	// Affine maps the pixels of the tensor's first picture to the source's. Affines has the map
	// of each picture.
	Affine  transform.Affine
	Affines []transform.Affine
	// Scale, Mean and Std are the normalization: value = (pixel*Scale - Mean) / Std.
	// Mean and Std have one number for each channel. Scale and Std are not 0.
	Scale     float64
	Mean, Std []float64
	// Normalized is true if the elements are normalized already, and false if they are
	// pixels that the consumer must normalize.
	Normalized bool
	// Late is true if the message comes after newer ones: the slot had been announced as a gap
	// before, or a burst looks back.
	Late bool
	// Since is the slot that was published before this one, if the output has a gate: between
	// them nothing new was seen. It is zero otherwise, and for the first.
	Since time.Time
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
		Stream:     f.text(HeaderStream),
		Output:     f.text(HeaderOutput),
		Time:       f.time(HeaderTime),
		Capture:    f.time(HeaderCapture),
		Normalized: true,
		Late:       len(h[HeaderLate]) > 0,
		Spec:       f.text(HeaderSpec),

		Traceparent: traceparent(h),
	}
	if _, ok := h[HeaderContentType]; ok {
		f.parsePicture(&e)
	} else {
		f.parseElements(&e)
	}
	if e.Rows == nil {
		e.Source = f.size(HeaderSource, f.text(HeaderSource))
	}
	if e.Affines = f.affines(HeaderAffine); f.err == nil {
		e.Affine = e.Affines[0]
	}
	if _, ok := h[HeaderSince]; ok {
		e.Since = f.time(HeaderSince)
	}
	if _, ok := h[HeaderBurst]; ok {
		e.Burst = f.text(HeaderBurst)
	}
	if f.err != nil {
		return Envelope{}, f.err
	}
	if err := e.validate(); err != nil {
		return Envelope{}, err
	}
	return e, nil
}

// validate checks what no header shows on its own.
func (e Envelope) validate() error {
	if err := e.checkForm(); err != nil {
		return err
	}
	if e.Scale == 0 {
		return fmt.Errorf("header %s: must not be 0", HeaderScale)
	}
	for _, std := range e.Std {
		if std == 0 {
			return fmt.Errorf("header %s: must not be 0", HeaderStd)
		}
	}
	if e.elements() > maxBytes/int64(e.DType.Size()) {
		return fmt.Errorf("header %s: %v of %s is more than %d bytes", HeaderShape, e.Shape, e.DType, maxBytes)
	}
	return nil
}

// Pictures returns how many pictures or clips the tensor has: 1, or as many as there are tiles,
// or rows of a batch.
func (e Envelope) Pictures() int { return e.side('n') }

// Width returns the width of the tensor's pictures in pixels.
func (e Envelope) Width() int { return e.side('w') }

// Height returns the height of the tensor's pictures in pixels.
func (e Envelope) Height() int { return e.side('h') }

// Bytes returns the length of the payload in bytes, according to the headers: 0 for an encoded
// picture, whose headers do not say it.
func (e Envelope) Bytes() int64 {
	if e.Encoded() {
		return 0
	}
	return e.elements() * int64(e.DType.Size())
}

// elements returns the number of elements, or a large number if it is larger.
func (e Envelope) elements() int64 {
	if len(e.Shape) == 0 {
		return 0
	}
	n := int64(1)
	for _, side := range e.Shape {
		n = min(n*int64(side), 1<<44) // times the largest side, it is still an int64
	}
	return n
}

// Check returns an error unless a payload of n bytes is as long as the headers say, or may be
// an encoded picture.
func (e Envelope) Check(n int) error {
	if e.Encoded() {
		if n < 1 || n > maxPicture {
			return fmt.Errorf("the payload has %d bytes, but an encoded picture has 1 to %d", n, maxPicture)
		}
		return nil
	}
	if want := e.Bytes(); int64(n) != want {
		return fmt.Errorf("the payload has %d bytes, but %v of %s needs %d", n, e.Shape, e.DType, want)
	}
	return nil
}
