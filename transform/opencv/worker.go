package opencv

// #include "cv.h"
// #include "jpeg.h"
import "C"

import (
	"errors"
	"fmt"
	"image"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// Options are the options of a worker.
type Options struct {
	// MaxWidth and MaxHeight limit the pictures that are decoded, in pixels. They
	// are checked before memory is allocated. Default: 3840 and 2160.
	MaxWidth, MaxHeight int
	// Buffers is where tensors get their memory. Workers may share it. By default
	// each has its own.
	Buffers *transform.Buffers
	// NoRowDecoder turns the row decoder off: see [CheckRowDecoder]. Tensors and errors
	// are the same without it.
	NoRowDecoder bool
}

// A Worker decodes frames and makes tensors of them. Only one goroutine may use it at a
// time. The tensors do not depend on it: they outlive its next frame and its end.
type Worker struct {
	meter    Meter
	buffers  *transform.Buffers
	own      *C.cvf_kernels // for our own decoder; nil: libjpeg decodes
	patience time.Duration  // see decodeTime
	closed   bool

	frame   source.Frame // without its data
	data    []byte       // the frame's, for the original
	picture picture

	pixels, cmyk, rectified, gray, rows, resized, scratch, table, luma, canvas memory
	huffman                                                                    memory // see huffmanTables
	lumaOwn                                                                    bool   // the last luma was read without libjpeg

	keepLuma bool        // see KeepLuma
	kept     image.Point // the size of the picture whose brightness w.luma has; zero: none
}

// A picture is a decoded frame.
type picture struct {
	full    image.Point          // the size of the whole picture; zero where nothing is decoded
	eighths int                  // it was decoded at n/8
	cover   *transform.Cover     // what is covered of it; nil for nothing
	lens    *transform.Rectified // how it is rectified; nil if it is not
	view                         // the picture at that size, in BGR; no pixels where it was resized while decoded
	resized []resized
}

// A resized is the visible part of what a picture was resized to while it was decoded.
type resized struct {
	of
	apart bool // it is only the region, which OpenCV is to resize
	view
}

// An of says which picture of which spec's tensor something is.
type of struct {
	spec *transform.Spec
	tile int
}

// geometries returns where the spec wants the picture's pixels, for each picture of its tensor.
// The regions are in the pixels of the picture as it was decoded, at eighths/8.
func (p *picture) geometries(s *transform.Spec) ([]transform.Geometry, error) {
	all, err := s.Geometries(p.full)
	if p.eighths != 8 {
		for i := range all {
			all[i] = all[i].Scaled(p.eighths, 8)
		}
	}
	return all, err
}

// NewWorker returns a worker. Close it when it is no longer needed.
func NewWorker(o Options) *Worker {
	w := newWorker(o)
	if !o.NoRowDecoder {
		w.own = rowDecoderHere().own
	}
	w.meter = *NewMeter(o)
	return w
}

// newWorker returns a worker without the row decoder.
func newWorker(o Options) *Worker {
	// This is for the whole process. Its parallelism comes from having several workers.
	C.cvf_cv_threads(1)
	giveBack()
	w := &Worker{meter: newMeter(o), buffers: o.Buffers, patience: decodeTime}
	if w.buffers == nil {
		w.buffers = new(transform.Buffers)
	}
	return w
}

// Decode decodes the frame's picture, so that [Worker.Tensor] can make the outputs of
// it. What the camera's masks cover is replaced before. If all of them are the original, only its header is read. The frame's data is not needed
// afterwards, unless one of them is. A [*transform.DecodeError] means that the picture is at
// fault. After an error there is no picture.
func (w *Worker) Decode(f source.Frame, c *transform.Camera, outs []*transform.Output) error {
	w.picture, w.data, w.kept = picture{}, nil, image.Point{}
	if w.closed {
		return errors.New("the worker is closed")
	}
	decoded := decodedOf(outs)
	if len(decoded) < len(outs) {
		if !c.Plain() {
			return errors.New("the original would show what is masked: encode a jpeg in its place")
		}
		w.data = f.Data
	}
	var p picture
	var err error
	if len(outs) > 0 && len(decoded) == 0 {
		p, err = w.meter.readHeader(f.Data)
	} else {
		p, err = w.decode(f.Data, c, decoded)
	}
	if err != nil {
		return err
	}
	f.Data = nil
	w.frame, w.picture = f, p
	return nil
}

// decodedOf returns the outputs for which a frame has to be decoded.
func decodedOf(outs []*transform.Output) []*transform.Output {
	if !slices.ContainsFunc(outs, isOriginal) {
		return outs
	}
	return slices.DeleteFunc(slices.Clone(outs), isOriginal)
}

func isOriginal(o *transform.Output) bool { return !o.Spec.Decodes() }

// Tensor makes the output's tensor of the picture that was decoded last. The
// output must be one of those that Decode was called with, and its spec valid. A
// [*transform.DecodeError] means that the picture does not suit the spec.
func (w *Worker) Tensor(o *transform.Output) (*transform.Tensor, error) {
	if w.picture.full == (image.Point{}) {
		return nil, errors.New("there is no picture: Decode comes before Tensor")
	}
	s := &o.Spec
	if !s.Decodes() {
		return w.original(o), nil
	}
	all, err := w.picture.geometries(s)
	if err != nil {
		return nil, &transform.DecodeError{Reason: transform.ReasonUnfit, Err: err}
	}
	if err := w.table.reserve(tableBytes); err != nil {
		return nil, err
	}
	if s.Pictures() {
		return w.encode(o, all[0])
	}
	shape := s.Shape(len(all), all[0])
	n := s.DType.Size() // bytes of one picture
	for _, d := range shape[1:] {
		n *= d
	}
	t, padded := w.buffers.Tensor(n*len(all), transform.Padding{Spec: *s, Picture: placed(all[0]), Pictures: len(all)})
	w.label(t, o)
	t.Shape, t.Affines = shape, make([]transform.Affine, len(all))
	for i, g := range all {
		src, err := w.resize(of{s, i}, g)
		if err != nil {
			t.Release()
			return nil, fmt.Errorf("output %s: %w", o.Name, err)
		}
		t.Affines[i] = g.Affine
		w.pack(s, g, src, t.Data[i*n:][:n], padded)
	}
	return t, nil
}

// label notes what a tensor is of.
func (w *Worker) label(t *transform.Tensor, o *transform.Output) {
	t.Stream, t.Slot, t.Capture = w.frame.Stream, w.frame.Slot, w.frame.Capture
	t.Output, t.Source = o, w.picture.full
	if w.picture.lens != nil {
		t.Map = w.picture.lens.Rectification
	}
}

// Rest forgets the picture that was decoded last, and gives back memory that is not worth
// keeping for the next one. Without it, a worker keeps what its largest picture needed.
func (w *Worker) Rest() {
	w.picture, w.data, w.kept = picture{}, nil, image.Point{}
	kept := 0
	for _, m := range w.memories() {
		if m.rest(); kept+m.cap > memoryKept {
			m.free()
		}
		kept += m.cap
	}
}

func (w *Worker) memories() []*memory {
	return []*memory{&w.table, &w.huffman, &w.pixels, &w.rows, &w.resized, &w.scratch, &w.gray, &w.cmyk, &w.rectified, &w.luma, &w.canvas}
}

// Close frees the worker's memory. Tensors stay valid. A second call does nothing.
func (w *Worker) Close() {
	for _, m := range w.memories() {
		m.free()
	}
	w.picture, w.closed = picture{}, true
}
