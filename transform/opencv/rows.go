package opencv

// #include "jpeg.h"
import "C"

import (
	"image"

	"github.com/cvfeeder/cvfeeder/transform"
)

// rowsJob returns the job of decoding a JPEG to the pixels that it is resized to for the
// output. It is not told where these go.
func rowsJob(h jpegHeader, o *transform.Output) (jpegJob, error) {
	p := picture{full: h.size, eighths: eighths(h.size, []*transform.Output{o})}
	g, err := p.geometry(&o.Spec)
	if err != nil {
		return jpegJob{}, err
	}
	size := scaled(h.size, p.eighths)
	return jpegJob{
		eighths: C.int(p.eighths), w: C.int(size.X), h: C.int(size.Y), channels: 3,
		resize: 1, x: C.int(g.Region.Min.X), y: C.int(g.Region.Min.Y),
		linear: C.cvf_linear{
			src_w: C.int(g.Region.Dx()), src_h: C.int(g.Region.Dy()),
			dst_w: C.int(g.Resized.X), dst_h: C.int(g.Resized.Y),
		},
	}, nil
}

// decodeRows decodes a JPEG to the pixels that it is resized to for the output.
func (w *Worker) decodeRows(data []byte, h jpegHeader, o *transform.Output) (picture, error) {
	job, err := rowsJob(h, o)
	if err != nil {
		return picture{}, err
	}
	p := picture{full: h.size, eighths: int(job.eighths), resizedFor: &o.Spec}
	if p.view, err = w.resized.picture(image.Pt(int(job.linear.dst_w), int(job.linear.dst_h)), 3); err != nil {
		return picture{}, err
	}
	job.internals, job.dst = w.internals, (*C.uint8_t)(p.p)
	if err := w.runJPEG(&job, data); err != nil {
		return picture{}, err
	}
	return p, nil
}
