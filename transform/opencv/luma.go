package opencv

// #include "luma.h"
import "C"

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"unsafe"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// Luma returns the brightness of the frame's picture at an eighth of its size, rounded up:
// the mean of each block of 8x8 pixels, 0 to 255, as a JPEG has it in its DC coefficients.
// That takes a fraction of the time of [Worker.Decode], because all other coefficients are
// skipped. size is that of the whole picture in pixels. The means are the worker's, until its
// next call of Luma or Rest.
//
// There are none of a PNG, of a JPEG whose colors are neither YCbCr nor gray, and of a
// picture that is too large or broken: an error says so. A picture of which Luma has no error
// may still be one that Decode refuses: of one that is not baseline, libjpeg decodes the
// coarsest part only.
func (w *Worker) Luma(f source.Frame, _ *transform.Camera) (luma *image.Gray, size image.Point, err error) {
	if w.closed {
		return nil, size, errors.New("the worker is closed")
	}
	if !bytes.HasPrefix(f.Data, jpegMagic) {
		return nil, size, errors.New("not a JPEG: it has no DC coefficients")
	}
	h, err := readJPEGHeader(f.Data)
	if err != nil {
		return nil, size, err
	}
	if err := w.meter.checkSize(h.size); err != nil {
		return nil, size, err
	}
	at := scaled(h.size, 1)
	if err := w.luma.reserve(at.X * at.Y); err != nil {
		return nil, size, err
	}
	if err := w.scratch.reserve(int(C.cvf_luma_scratch(C.int(at.X)))); err != nil {
		return nil, size, err
	}
	job := C.cvf_luma_job{w: C.int(at.X), h: C.int(at.Y), seconds: w.seconds(h.size), own: flag(w.own != nil), dst: (*C.uint8_t)(w.luma.p)}
	var message jpegMessage
	if C.cvf_luma_read(&job, (*C.uint8_t)(&f.Data[0]), C.size_t(len(f.Data)), w.scratch.p, &message[0]) != 0 {
		return nil, size, fmt.Errorf("JPEG: %s", C.GoString(&message[0]))
	}
	w.lumaOwn = job.used != 0
	return &image.Gray{Pix: unsafe.Slice((*byte)(w.luma.p), at.X*at.Y), Stride: at.X, Rect: image.Rectangle{Max: at}}, h.size, nil
}
