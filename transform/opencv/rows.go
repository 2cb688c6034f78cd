package opencv

// #include "jpeg.h"
import "C"

import (
	"runtime"

	"github.com/cvfeeder/cvfeeder/transform"
)

// resizesRows tells whether a JPEG can be resized while its rows are decoded: for one
// output, with linear interpolation of its colors. That way the whole picture does not
// take up the memory's bandwidth. On processors other than x86-64 OpenCV may use
// another filter (Carotene's), whose pixels linear.c does not make.
func (w *Worker) resizesRows(h jpegHeader, outs []*transform.Output) bool {
	if !w.rows || runtime.GOARCH != "amd64" || h.channels != 3 || len(outs) != 1 {
		return false
	}
	s := &outs[0].Spec
	if s.Resize != transform.OpenCVLinear || s.Color == transform.Gray {
		return false
	}
	g, err := s.Geometry(h.size)
	return err == nil && g.Resized != g.Region.Size()
}

// decodeRows decodes a JPEG to the pixels that it is resized to for the output.
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
	job := jpegJob{
		eighths: C.int(p.eighths), w: C.int(size.X), h: C.int(size.Y), channels: 3,
		internals: w.internals, dst: (*C.uint8_t)(p.p),
		resize: 1, x: C.int(g.Region.Min.X), y: C.int(g.Region.Min.Y),
		linear: C.cvf_linear{
			src_w: C.int(g.Region.Dx()), src_h: C.int(g.Region.Dy()),
			dst_w: C.int(g.Resized.X), dst_h: C.int(g.Resized.Y),
		},
	}
	if err := w.runJPEG(&job, data); err != nil {
		return picture{}, err
	}
	return p, nil
}
