package opencv

// #include "jpeg.h"
import "C"

import (
	"bytes"
	"fmt"
	"image"
	"unsafe"

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

// A resizer returns the visible part of the worker's picture, resized.
type resizer func(*transform.Spec, transform.Geometry) (view, error)

// compareRows resizes a JPEG row by row and with OpenCV, to sizes for which some builds of
// it have filters of their own: larger, a little smaller, halved, and much smaller.
func (w *Worker) compareRows(data []byte, resize resizer) error {
	h, err := readJPEGHeader(data)
	if err != nil {
		return err
	}
	defer func() {
		w.picture = picture{}
		w.pixels.free()
		w.resized.free()
	}()
	half := h.size.Div(2)
	for _, size := range []image.Point{half, {2 * h.size.X, h.size.Y + 1}, {h.size.X - 9, h.size.Y - 5}, half.Sub(image.Pt(7, 9))} {
		if err := w.compareResized(data, h, size, resize); err != nil {
			return err
		}
	}
	return nil
}

// compareResized does it for one size.
func (w *Worker) compareResized(data []byte, h jpegHeader, size image.Point, resize resizer) error {
	o := &transform.Output{Spec: transform.Spec{
		Width: size.X, Height: size.Y, Fit: transform.Stretch, Resize: transform.OpenCVLinear, Decode: transform.DecodeExact,
	}}
	g, err := o.Spec.Geometry(h.size)
	if err != nil {
		return err
	}
	rows, err := w.decodeRows(data, h, o)
	if err != nil {
		return err
	}
	got := bytes.Clone(rows.bytes())
	w.picture = picture{full: h.size, eighths: 8}
	if w.picture.view, err = w.pixels.picture(h.size, h.channels); err != nil {
		return err
	}
	job := w.wholeJPEG(8, w.picture.view)
	if err := w.runJPEG(&job, data); err != nil {
		return err
	}
	want, err := resize(&o.Spec, g)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want.bytes()) {
		return fmt.Errorf("OpenCV as it is built here resizes %v to %v with another filter than its own", h.size, size)
	}
	return nil
}

// bytes returns the pixels of a view without gaps.
func (v view) bytes() []byte { return unsafe.Slice((*byte)(v.p), v.size.Y*v.stride) }
