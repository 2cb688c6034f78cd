package transform

import "fmt"

// A Reason says in a word why bytes are undecodable. It is stable and short
// enough for a metric's label.
type Reason string

// The reasons.
const (
	// ReasonEmpty: there are no bytes.
	ReasonEmpty Reason = "empty"
	// ReasonFormat: the bytes begin neither as JPEG nor as PNG.
	ReasonFormat Reason = "format"
	// ReasonSize: the picture says that it is larger than allowed, or has no
	// pixels.
	ReasonSize Reason = "size"
	// ReasonTruncated: the picture ends early.
	ReasonTruncated Reason = "truncated"
	// ReasonCorrupt: the decoder found an error in the picture.
	ReasonCorrupt Reason = "corrupt"
	// ReasonUnfit: the picture is whole, but it does not suit the output: see
	// [Spec.Geometry].
	ReasonUnfit Reason = "unfit"
)

// A DecodeError says that no tensor can be made of a frame's bytes. It is the
// frame's fault and says nothing about the next one.
type DecodeError struct {
	Reason Reason
	// Err says more.
	Err error
}

// Error implements error.
func (e *DecodeError) Error() string { return fmt.Sprintf("undecodable (%s): %v", e.Reason, e.Err) }

// Unwrap returns what Err holds.
func (e *DecodeError) Unwrap() error { return e.Err }
