package transform

import (
	"image"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A Tensor is one frame in the form that one model takes, or an encoded picture of it.
type Tensor struct {
	// Stream, Slot and Capture are those of the frame.
	Stream  string
	Slot    source.Slot
	Capture time.Time

	// Output is what the tensor was made for: its name, spec and fingerprint.
	Output *Output

	// ContentType is the media type of an encoded picture; "" for a tensor.
	ContentType string
	// Shape is that of the tensor: [N C H W] for NCHW, [N H W C] for NHWC, of N pictures: 1, or
	// as many as there are tiles, or rows of a batch. An encoded picture has [H W C], and a clip of T frames
	// [1 C T H W], [1 T C H W] or [1 T H W C].
	Shape []int
	// Clip has the frames of a clip; nil for any other tensor.
	Clip []ClipFrame
	// Batch has the rows of a batch across streams, of which each is a picture: Stream is then the
	// batch's name, and Source is zero. It is nil for any other tensor.
	Batch []Row
	// Source is the size in pixels of the decoded picture, rectified if there is a Map.
	Source image.Point
	// Affines map the pixels of each of the tensor's pictures to that picture's.
	Affines []Affine
	// Map maps that picture's pixels to those of the camera's; nil where they are the same.
	Map *Rectification
	// Data holds the elements: contiguous, little-endian, in C order; or the encoded picture. It
	// must not be written to, because the next tensor in the same memory reuses the padding. It is
	// valid until Release.
	Data []byte

	release func()
	share   func(subject string) string // nil where the memory is the process's own
}

// Release hands the tensor's memory over to the next one, and sets Data to nil. Call
// it when nobody reads Data any more. Without a call, the garbage collector frees the
// memory. A second call does nothing. Do not copy a tensor that will be released.
func (t *Tensor) Release() {
	if t.release != nil {
		t.release()
	}
	t.release, t.share, t.Data = nil, nil, nil
}

// Share returns what lets other processes read the tensor where it is, and returns where that is,
// for those who are told so on a subject: see [Slot.Share]. It is nil if the memory is the process's
// own. In shared memory, Data is valid only as long as the tensor is in use.
func (t *Tensor) Share() func(subject string) (place string) { return t.share }

// An Output is a named spec: one kind of tensor that a stream is turned into.
type Output struct {
	Name string
	Spec Spec
	// Fingerprint identifies the spec and the versions of the libraries: see
	// [Spec.Fingerprint].
	Fingerprint string
}
