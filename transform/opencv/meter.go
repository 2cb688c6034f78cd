package opencv

// #include "jpeg.h"
// #include "luma.h"
import "C"

import (
	"bytes"
	"cmp"
	"image"
	"runtime"
	"slices"
	"unsafe"

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
	limit   image.Point
	rows    bool         // pictures are resized row by row
	differs map[way]bool // but not in these ways, of which OpenCV has others here
	fused   bool         // OpenCV multiplies and adds floats with a single rounding
}

// NewMeter returns a meter for workers with the options.
func NewMeter(o Options) *Meter {
	m := newMeter(o)
	if !o.NoRowDecoder {
		found := rowDecoderHere()
		m.rows, m.differs = found.err == nil, found.differs
	}
	return &m
}

func newMeter(o Options) Meter {
	return Meter{
		limit: image.Pt(cmp.Or(o.MaxWidth, defaultMaxWidth), cmp.Or(o.MaxHeight, defaultMaxHeight)),
		fused: runtime.GOARCH == "arm64",
	}
}

// Measure returns the size of a frame's picture in pixels, and how many bytes of memory a
// worker takes at most to decode it and to make tensors of the outputs, besides the frame
// and the tensors. For a picture that a worker refuses by its header it returns zeros.
func (m *Meter) Measure(f source.Frame, c *transform.Camera, outs []*transform.Output) (size image.Point, work int64) {
	decoded := decodedOf(outs)
	if len(outs) > 0 && len(decoded) == 0 {
		return m.header(f.Data), 0
	}
	outs = decoded
	switch data := f.Data; {
	case bytes.HasPrefix(data, jpegMagic):
		h, err := readJPEGHeader(data)
		if err != nil || m.checkSize(h.size) != nil {
			return image.Point{}, 0
		}
		luma := pixels(scaled(h.size, 1)) + pixels(scaled(c.Shown(h.size), 1)) // for Luma and KeptLuma
		return c.Shown(h.size), m.jpegWork(h, c, outs) + int64(huffmanBytes) + luma
	case bytes.HasPrefix(data, pngMagic):
		size, err := pngSize(data)
		if err != nil || m.checkSize(size) != nil {
			return image.Point{}, 0
		}
		return c.Shown(size), m.pngWork(size, c, outs) + pixels(scaled(size, 1))
	}
	return image.Point{}, 0
}

// header returns the size of a picture by its header; zero for one that a worker refuses.
func (m *Meter) header(data []byte) image.Point {
	p, err := m.readHeader(data)
	if err != nil {
		return image.Point{}
	}
	return p.full
}

// jpegWork returns the memory that a JPEG takes.
func (m *Meter) jpegWork(h jpegHeader, c *transform.Camera, outs []*transform.Output) int64 {
	p := picture{full: h.size, eighths: eighthsOf(h.size, c, outs)}
	size := scaled(h.size, p.eighths)
	shown := size
	if c.Rectifies() {
		p.full = c.Shown(h.size)
		shown = p.full
	}
	all := m.resizings(p, outs)
	later := m.outputsWork(p, outs, all)
	if h.channels == 3 && len(all) > 0 && !c.Whole() {
		return int64(rowsBytes(all)) + later.besides(h.library, jpegScratch(h, size.X, all))
	}
	work := 3*pixels(size) + lensWork(c, shown)
	if len(all) > 0 {
		later.scratch = max(later.scratch, int64(feedScratch(shown.X, all)))
		if h.channels == 4 && c.Plain() {
			work = 0
		}
		work += int64(rowsBytes(all))
	}
	if h.channels == 4 {
		work += 4 * pixels(size)
	}
	return work + later.besides(h.library, jpegScratch(h, size.X, nil))
}

// jpegScratch returns the scratch memory that a JPEG takes, decoded to a width, and for Luma.
func jpegScratch(h jpegHeader, width int, all []resizing) int64 {
	job := jpegJob{w: C.int(width), scratch: C.size_t(h.scratch), count: C.int(len(all))}
	decoding := C.cvf_jpeg_scratch(&job, unsafe.SliceData(jobs(all)))
	return int64(max(decoding, C.cvf_luma_scratch(C.int(scaled(h.size, 1).X))))
}

// pngWork returns the memory that a PNG takes: the pixels, two rows of up to 8 bytes a pixel,
// and what inflating needs.
func (m *Meter) pngWork(size image.Point, c *transform.Camera, outs []*transform.Output) int64 {
	shown := c.Shown(size)
	p := picture{full: shown, eighths: 8}
	all := m.resizings(p, outs)
	l, scratch := m.outputsWork(p, outs, all), 0
	if len(all) > 0 {
		scratch = feedScratch(shown.X, all)
	}
	work := 3*pixels(size) + 2*8*int64(size.X) + 1<<20 + lensWork(c, shown)
	return work + int64(rowsBytes(all)) + l.besides(0, int64(scratch))
}

// lensWork returns the memory that rectifying takes: the picture and the table.
func lensWork(c *transform.Camera, shown image.Point) int64 {
	if c == nil || c.Lens == nil {
		return 0
	}
	return (3 + transform.TableBytes) * pixels(shown)
}

// A later is the memory that outputs take once a picture is decoded. A worker uses the same
// memory for each of them.
type later struct{ gray, resized, scratch, encoded int64 }

// besides returns it together with what a library takes, which is done by then, and the
// scratch memory that was needed before.
func (l later) besides(library, scratch int64) int64 {
	return max(library, l.gray+l.resized+l.encoded+max(0, l.scratch-scratch)) + scratch + tableBytes
}

// outputsWork returns the memory that outputs take of a decoded picture. Nothing more is to be
// done for what all were made of it before, unless that is only a region.
func (m *Meter) outputsWork(p picture, outs []*transform.Output, all []resizing) (l later) {
	for _, o := range outs {
		pictures, err := p.geometries(&o.Spec)
		if err != nil {
			continue // Tensor will return the error
		}
		if o.Spec.Pictures() {
			// The pixels, as Go's encoder of PNGs has them, and the encoded picture.
			l.encoded = max(l.encoded, 8*pixels(pictures[0].Size))
		}
		for i, g := range pictures {
			done := func(r resizing) bool { return *r.spec == o.Spec && r.tile == i && !r.apart }
			if !slices.ContainsFunc(all, done) {
				l.add(&o.Spec, g, m.own(&o.Spec, g))
			}
		}
	}
	return l
}

// add adds an output, of which own tells whether it is resized as rows come nevertheless.
func (l *later) add(s *transform.Spec, g transform.Geometry, own bool) {
	from, to, channels := g.Region.Size(), g.Resized, s.Color.Channels()
	if s.Color == transform.Gray {
		l.gray = max(l.gray, pixels(from))
	}
	if from == to {
		return
	}
	switch {
	case own:
		all := []resizing{ownResizing(of{spec: s}, image.Rectangle{Max: from}, g)}
		l.scratch = max(l.scratch, int64(feedScratch(from.X, all)))
		l.resized = max(l.resized, int64(rowsBytes(all)))
		return
	case s.Resize == transform.OpenCVLinear && oddFactor(from, to) > 1:
		return // pixels are only picked
	case s.Resize == transform.OpenCVCubic && floatCubic(from):
		l.scratch = max(l.scratch, 4*int64(channels)*(pixels(from)+pixels(to)))
	}
	l.resized = max(l.resized, int64(channels)*pixels(to))
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
