package opencv

// #include "luma.h"
// #include "means.h"
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
// skipped. size is that of the whole picture in pixels, once it is rectified. The means are the worker's, until its
// next call of Luma or Rest.
//
// There are none of a PNG, of a JPEG whose colors are neither YCbCr nor gray, and of a
// picture that is too large or broken: an error says so. A picture of which Luma has no error
// may still be one that Decode refuses: of one that is not baseline, libjpeg decodes the
// coarsest part only.
func (w *Worker) Luma(f source.Frame, c *transform.Camera) (luma *image.Gray, size image.Point, err error) {
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
	w.kept = image.Point{}
	lens := c.Rectified(h.size)
	rectified := 0
	if lens != nil {
		rectified = len(lens.Luma)
	}
	if err := w.luma.reserve(at.X*at.Y + rectified); err != nil {
		return nil, size, err
	}
	if err := w.scratch.reserve(int(C.cvf_luma_scratch(C.int(at.X)))); err != nil {
		return nil, size, err
	}
	tables, err := w.huffmanTables()
	if err != nil {
		return nil, size, err
	}
	job := C.cvf_luma_job{w: C.int(at.X), h: C.int(at.Y), seconds: w.seconds(h.size), own: flag(w.own != nil), tables: tables, dst: (*C.uint8_t)(w.luma.p)}
	var message jpegMessage
	if C.cvf_luma_read(&job, (*C.uint8_t)(&f.Data[0]), C.size_t(len(f.Data)), w.scratch.p, &message[0]) != 0 {
		return nil, size, fmt.Errorf("JPEG: %s", C.GoString(&message[0]))
	}
	w.lumaOwn = job.used != 0
	if lens != nil {
		all := unsafe.Slice((*byte)(w.luma.p), at.X*at.Y+rectified)
		return rectifiedLuma(lens, all[:at.X*at.Y], all[at.X*at.Y:]), lens.Size, nil
	}
	return w.lumaOf(h.size), h.size, nil
}

// lumaOf returns the brightness of a picture of a size, which is in the worker's memory.
func (w *Worker) lumaOf(size image.Point) *image.Gray {
	at := scaled(size, 1)
	return &image.Gray{Pix: unsafe.Slice((*byte)(w.luma.p), at.X*at.Y), Stride: at.X, Rect: image.Rectangle{Max: at}}
}

// KeepLuma says whether the next calls of Decode keep the brightness of their pictures for
// [Worker.KeptLuma]. That is beside their work, and takes hardly any time.
func (w *Worker) KeepLuma(keep bool) { w.keepLuma = keep }

// KeptLuma returns the brightness of the picture that was decoded last, if it was to be kept: of what
// [Worker.Luma] returns, every other mean of every other row. Of a JPEG that libjpeg
// decodes, and of a PNG, it is the mean of one row of pixels of each block. size is that of the whole
// picture in pixels. It is nil for pictures of
// CMYK, and for others whose brightness has fewer samples than pixels. It is the worker's, until its
// next call of Decode, Luma or Rest.
func (w *Worker) KeptLuma() (luma *image.Gray, size image.Point) {
	if w.kept == (image.Point{}) {
		return nil, size
	}
	at := sparse(w.kept)
	return &image.Gray{Pix: unsafe.Slice((*byte)(w.luma.p), at.X*at.Y), Stride: at.X, Rect: image.Rectangle{Max: at}}, w.kept
}

// sparse returns how many means of a picture KeptLuma has.
func sparse(size image.Point) image.Point { return image.Pt((size.X+15)/16, (size.Y+15)/16) }

// means makes room for the brightness of a picture of a size, nil if it is not to be kept.
func (w *Worker) means(size image.Point) (*C.uint8_t, error) {
	if !w.keepLuma {
		return nil, nil
	}
	at := sparse(size)
	if err := w.luma.reserve(at.X * at.Y); err != nil {
		return nil, err
	}
	return (*C.uint8_t)(w.luma.p), nil
}

// keepPixels keeps the brightness of a picture in memory, of three channels.
func (w *Worker) keepPixels(size image.Point, v view) error {
	dst, err := w.means(size)
	if err != nil || dst == nil {
		return err
	}
	C.cvf_means_of_pixels((*C.uint8_t)(v.p), C.int(v.size.X), C.int(v.size.Y), 8, C.int(v.step), dst)
	w.kept = size
	return nil
}

// rectifiedLuma returns the means of a rectified picture: those of the source's blocks that the
// middles of its own show.
func rectifiedLuma(lens *transform.Rectified, source, into []byte) *image.Gray {
	for i, at := range lens.Luma {
		into[i] = 0
		if at >= 0 {
			into[i] = source[at]
		}
	}
	size := scaled(lens.Size, 1)
	return &image.Gray{Pix: into, Stride: size.X, Rect: image.Rectangle{Max: size}}
}
