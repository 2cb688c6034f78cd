package opencv

// #include "jpeg.h"
import "C"

import (
	"bytes"
	"fmt"
	"image"
	"slices"
	"unsafe"

	"github.com/cvfeeder/cvfeeder/transform"
)

// A resizing is what an output's picture is resized to while a JPEG is decoded.
type resizing struct {
	spec *transform.Spec
	job  C.cvf_resize
}

// visible returns the size of what is made.
func (r *resizing) visible() image.Point { return image.Pt(int(r.job.vw), int(r.job.vh)) }

// bytes returns the memory that it is written to, with what may be written behind it.
func (r *resizing) bytes() int {
	return (3*r.visible().X*r.visible().Y + C.CVF_RESIZE_BEHIND + memoryAlign - 1) / memoryAlign * memoryAlign
}

// rowsJob returns the job of decoding a JPEG to what it is resized to for each output, and
// what that is. It is not told where these pixels go. Outputs with the same spec share
// them. An output that the picture does not suit is left out: Tensor will return the error.
func rowsJob(h jpegHeader, outs []*transform.Output) (jpegJob, []resizing) {
	p := picture{full: h.size, eighths: eighths(h.size, outs)}
	var all []resizing
	for _, o := range outs {
		g, err := p.geometry(&o.Spec)
		if err != nil || slices.ContainsFunc(all, func(r resizing) bool { return *r.spec == o.Spec }) {
			continue
		}
		from, part := g.Region, g.Visible()
		all = append(all, resizing{spec: &o.Spec, job: C.cvf_resize{
			kind: C.CVF_LINEAR,
			x:    C.int(from.Min.X), y: C.int(from.Min.Y), w: C.int(from.Dx()), h: C.int(from.Dy()),
			full_w: C.int(g.Resized.X), full_h: C.int(g.Resized.Y),
			vx: C.int(part.Min.X), vy: C.int(part.Min.Y), vw: C.int(part.Dx()), vh: C.int(part.Dy()),
		}})
	}
	size := scaled(h.size, p.eighths)
	return jpegJob{
		eighths: C.int(p.eighths), w: C.int(size.X), h: C.int(size.Y), channels: 3, count: C.int(len(all)),
	}, all
}

// rowsBytes returns the memory that the job of a rowsJob takes besides the scratch memory.
func rowsBytes(all []resizing) int {
	n := len(all) * C.sizeof_cvf_resize
	for i := range all {
		n += all[i].bytes()
	}
	return n
}

// decodeRows decodes a JPEG to what it is resized to for each output.
func (w *Worker) decodeRows(data []byte, h jpegHeader, outs []*transform.Output) (picture, error) {
	job, all := rowsJob(h, outs)
	p := picture{full: h.size, eighths: int(job.eighths)}
	if err := w.resized.reserve(rowsBytes(all)); err != nil {
		return picture{}, err
	}
	next := w.resized.p
	for i := range all {
		r := &all[i]
		r.job.dst = (*C.uint8_t)(next)
		size := r.visible()
		p.resized = append(p.resized, resized{r.spec, view{p: next, step: 3, stride: 3 * size.X, size: size, channels: 3}})
		next = unsafe.Add(next, r.bytes())
	}
	jobs := unsafe.Slice((*C.cvf_resize)(next), len(all))
	for i := range all {
		jobs[i] = all[i].job
	}
	job.internals, job.resizes = w.internals, &jobs[0]
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
	rows, err := w.decodeRows(data, h, []*transform.Output{o})
	if err != nil {
		return err
	}
	got := bytes.Clone(rows.resized[0].bytes())
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
