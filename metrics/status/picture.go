package status

import "github.com/cvfeeder/cvfeeder/source"

// A PictureRequest says what is to be seen.
type PictureRequest struct {
	Stream, Output string
	// Slot is the one that is asked for, or the first one to wait for; 0 is the next one.
	Slot source.Slot
	// Small asks for a picture of the wall: no side of the tensor's picture is longer than
	// 320 pixels, and there is no long wait.
	Small bool
	// NPY asks for the tensor as a file.
	NPY bool
}

// A Picture is one frame: what the camera sent, and what the model sees of it.
type Picture struct {
	Stream string `json:"stream"`
	Output string `json:"output"`
	// Time is the slot, and Capture the service's own timestamp of the image.
	Time    string `json:"time"`
	Capture string `json:"capture"`
	// Outcome is how the slot ended; unless that is "published", Reason may tell more.
	// Source and Tensor are nil where there is no tensor.
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"`
	Source  *Image `json:"source,omitempty"`
	Tensor  *Image `json:"tensor,omitempty"`
	// Affines map the pixels of each of the tensor's pictures to the source's: a, b, c, d, e, f.
	Affines [][6]float64 `json:"affines"`
	// Columns is how many of the tensor's pictures are side by side in Tensor.
	Columns int `json:"columns"`
	// Shape is that of the tensor, such as "1 3 640 640 float32 rgb".
	Shape string `json:"shape,omitempty"`
	// NPY is the tensor as a file for numpy.load, where that was asked for.
	NPY []byte `json:"-"`
}

// An Image is an encoded picture.
type Image struct {
	// Width and Height are those of the frame or tensor, in pixels; the encoded picture
	// may be smaller.
	Width  int `json:"width"`
	Height int `json:"height"`
	// Type is image/jpeg or image/png.
	Type string `json:"type"`
	Data []byte `json:"data"`
}
