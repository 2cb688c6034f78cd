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
	// ReasonSize: the header announces a larger picture than is allowed, or one
	// without pixels.
	ReasonSize Reason = "size"
	// ReasonTruncated: the picture ends early, or lacks some of its scans.
	ReasonTruncated Reason = "truncated"
	// ReasonCorrupt: the decoder found an error in the picture.
	ReasonCorrupt Reason = "corrupt"
	// ReasonCost: the picture would take too long to decode.
	ReasonCost Reason = "cost"
	// ReasonUnfit: the picture is whole, but it does not suit the output: see
	// [Spec.Geometry].
	ReasonUnfit Reason = "unfit"
)

// A DecodeError means that no tensor can be made from a frame's bytes. The frame is at
// fault: the next one may be fine.
type DecodeError struct {
	Reason Reason
	// Err has the details.
	Err error
}

// Error implements error.
func (e *DecodeError) Error() string { return fmt.Sprintf("undecodable (%s): %v", e.Reason, e.Err) }

// Unwrap returns Err.
func (e *DecodeError) Unwrap() error { return e.Err }
