package opencv

// #cgo pkg-config: libjpeg
// #include "jpeg.h"
import "C"

import (
	"runtime"

	"github.com/cvfeeder/cvfeeder/transform"
)

// resizesRows tells whether a JPEG can be resized while its rows are decoded, which
// spares the memory's bandwidth the whole picture: for one output, by linear
// interpolation of its colors. OpenCV for other processors than x86-64 may have
// another filter (Carotene), whose pixels linear.c does not make.
func resizesRows(h jpegHeader, outs []*transform.Output) bool {
	if runtime.GOARCH != "amd64" || h.cmyk || len(outs) != 1 {
		return false
	}
	s := &outs[0].Spec
	if s.Resize != transform.OpenCVLinear || s.Color == transform.Gray {
		return false
	}
	g, err := s.Geometry(h.size)
	return err == nil && g.Resized != g.Region.Size()
}

// decodeRows decodes a JPEG for the output, to the pixels that it is resized to.
func (w *Worker) decodeRows(data []byte, h jpegHeader, o *transform.Output) (picture, error) {
	p := picture{full: h.size, eighths: eighths(h.size, []*transform.Output{o}), resizedFor: &o.Spec}
	g, err := p.geometry(&o.Spec)
	if err != nil {
		return picture{}, err
	}
	if p.view, err = w.resized.picture(g.Resized, 3); err != nil {
		return picture{}, err
	}
	size := scaled(h.size, p.eighths)
	job := C.cvf_rows_job{
		eighths: C.int(p.eighths), w: C.int(size.X), h: C.int(size.Y), x: C.int(g.Region.Min.X), y: C.int(g.Region.Min.Y),
		linear: C.cvf_linear{
			src_w: C.int(g.Region.Dx()), src_h: C.int(g.Region.Dy()),
			dst_w: C.int(g.Resized.X), dst_h: C.int(g.Resized.Y),
		},
	}
	if err := w.scratch.reserve(int(C.cvf_rows_scratch(&job))); err != nil {
		return picture{}, err
	}
	var message [C.CVF_MESSAGE]C.char
	failed := C.cvf_rows(&job, (*C.uint8_t)(&data[0]), C.size_t(len(data)),
		w.scratch.p, (*C.uint8_t)(p.p), &message[0]) != 0
	if failed {
		return picture{}, jpegFailure(C.GoString(&message[0]), data)
	}
	return p, nil
}
