package opencv

// #include "jpeg.h"
// #include "pillow.h"
import "C"

import (
	"bytes"
	"cmp"
	"image"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// The largest picture that GetImages sends, and the default limit.
const (
	defaultMaxWidth  = 3840
	defaultMaxHeight = 2160
)

// A Meter tells from a picture's header what a [Worker] with the same options will take to
// decode it. Many goroutines may use it.
type Meter struct {
	limit image.Point
	rows  bool // JPEGs may be resized row by row
}

// NewMeter returns a meter for workers with the options.
func NewMeter(o Options) *Meter {
	m := newMeter(o)
	m.rows = !o.NoRowDecoder && CheckRowDecoder() == nil
	return &m
}

func newMeter(o Options) Meter {
	return Meter{limit: image.Pt(cmp.Or(o.MaxWidth, defaultMaxWidth), cmp.Or(o.MaxHeight, defaultMaxHeight))}
}

// Measure returns the size of a frame's picture in pixels, and how many bytes of memory a
// worker takes at most to decode it and to make tensors of the outputs, besides the frame
// and the tensors. For a picture that a worker refuses by its header it returns zeros.
func (m *Meter) Measure(f source.Frame, outs []*transform.Output) (size image.Point, work int64) {
	switch data := f.Data; {
	case bytes.HasPrefix(data, jpegMagic):
		h, err := readJPEGHeader(data)
		if err != nil || m.checkSize(h.size) != nil {
			return image.Point{}, 0
		}
		return h.size, m.jpegWork(h, outs) + pixels(scaled(h.size, 1)) // the last for Luma
	case bytes.HasPrefix(data, pngMagic):
		size, err := pngSize(data)
		if err != nil || m.checkSize(size) != nil {
			return image.Point{}, 0
		}
		return size, pngWork(size, len(data)) + outputsWork(picture{full: size, eighths: 8}, outs)
	}
	return image.Point{}, 0
}

// jpegWork returns the memory that a JPEG takes.
func (m *Meter) jpegWork(h jpegHeader, outs []*transform.Output) int64 {
	if m.resizesRows(h, outs) {
		job, all := rowsJob(h, outs)
		jobs := make([]C.cvf_resize, len(all))
		for i := range all {
			jobs[i] = all[i].job
		}
		return h.library + int64(rowsBytes(all)) + int64(C.cvf_jpeg_scratch(job.w, &jobs[0], job.count))
	}
	p := picture{full: h.size, eighths: eighths(h.size, outs)}
	size := scaled(h.size, p.eighths)
	work := 3*pixels(size) + int64(C.cvf_jpeg_scratch(0, nil, 0))
	if h.channels == 4 {
		work += 4 * pixels(size)
	}
	return work + max(h.library, outputsWork(p, outs)) // libjpeg is done by then
}

// resizesRows tells whether a JPEG can be resized while its rows are decoded: with linear
// interpolation of its colors, for each output that it suits. That way the whole picture
// does not take up the memory's bandwidth.
func (m *Meter) resizesRows(h jpegHeader, outs []*transform.Output) bool {
	if !m.rows || h.channels != 3 {
		return false
	}
	suits := false
	for _, o := range outs {
		g, err := o.Spec.Geometry(h.size)
		if err != nil {
			continue // Tensor will return the error
		}
		if o.Spec.Resize != transform.OpenCVLinear || o.Spec.Color == transform.Gray || g.Resized == g.Region.Size() {
			return false
		}
		suits = true
	}
	return suits
}

// pngWork returns the memory that a PNG takes: the pixels, two copies of the compressed
// data, and what libpng and zlib need, rows of up to 8 bytes a pixel among it.
func pngWork(size image.Point, data int) int64 {
	return 3*pixels(size) + 2*int64(data) + 3*8*int64(size.X) + 1<<20
}

// outputsWork returns the memory that the outputs of a decoded picture take. A worker uses
// the same memory for each of them.
func outputsWork(p picture, outs []*transform.Output) int64 {
	var gray, resized, scratch int64
	for _, o := range outs {
		g, err := p.geometry(&o.Spec)
		if err != nil {
			continue // Tensor will return the error
		}
		from, channels := g.Region.Size(), o.Spec.Color.Channels()
		if o.Spec.Color == transform.Gray {
			gray = max(gray, pixels(from))
		}
		if from == g.Resized {
			continue
		}
		to := g.Resized
		switch o.Spec.Resize {
		case transform.OpenCVLinear:
			if oddFactor(from, to) > 1 {
				continue // pixels are only picked
			}
		case transform.OpenCVCubic:
			if min(from.X, from.Y) >= minFloatCubic {
				scratch = max(scratch, 4*int64(channels)*(pixels(from)+pixels(to)))
			}
		case transform.PillowBilinear, transform.PillowBicubic, transform.PillowLanczos:
			to = g.Visible().Size()
			job := pillowJob(from, channels, g, pillowFilter(o.Spec.Resize))
			scratch = max(scratch, int64(C.cvf_pillow_scratch(&job)))
		}
		resized = max(resized, int64(channels)*pixels(to))
	}
	return gray + resized + scratch + tableBytes
}

// pixels returns how many pixels a picture has.
func pixels(size image.Point) int64 { return int64(size.X) * int64(size.Y) }

// checkSize checks a picture's size against the limits.
func (m *Meter) checkSize(size image.Point) error {
	if size.X < 1 || size.Y < 1 || size.X > m.limit.X || size.Y > m.limit.Y {
		return undecodable(transform.ReasonSize, "%dx%d pixels: 1x1 to %dx%d are accepted",
			size.X, size.Y, m.limit.X, m.limit.Y)
	}
	return nil
}
