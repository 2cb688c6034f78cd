package opencv

// #include "sink.h"
import "C"

import (
	"bytes"
	"image"
	"math/rand/v2"
	"slices"
	"unsafe"

	"github.com/cvfeeder/cvfeeder/transform"
)

// A resizing is what is made of a picture for an output as its rows come.
type resizing struct {
	of
	apart bool // it is only the part that OpenCV resizes afterwards
	job   C.cvf_resize
}

func (r *resizing) size() image.Point { return image.Pt(int(r.job.vw), int(r.job.vh)) }

func (r *resizing) channels() int {
	if r.job.gray != 0 {
		return 1
	}
	return 3
}

// step returns the bytes from pixel to pixel.
func (r *resizing) step() int {
	if r.job.floats != 0 {
		return 4 * C.sizeof_float
	}
	return r.channels()
}

// bytes returns the memory that it is written to, with what may be written behind it.
func (r *resizing) bytes() int {
	return (r.step()*r.size().X*r.size().Y + C.CVF_RESIZE_BEHIND + memoryAlign - 1) / memoryAlign * memoryAlign
}

// A way is how pixels are resized, and whether they are gray by then.
type way struct {
	resize transform.Resize
	gray   bool
}

// kinds are the ways to resize as C has them.
var kinds = map[transform.Resize]C.int{ //nolint:gochecknoglobals // a constant
	transform.OpenCVNearest:  C.CVF_NEAREST,
	transform.OpenCVLinear:   C.CVF_LINEAR,
	transform.OpenCVArea:     C.CVF_AREA,
	transform.OpenCVCubic:    C.CVF_CUBIC,
	transform.PillowBilinear: C.CVF_BILINEAR,
	transform.PillowBicubic:  C.CVF_BICUBIC,
	transform.PillowLanczos:  C.CVF_LANCZOS,
	transform.TorchBilinear:  C.CVF_TORCH_BILINEAR,
	transform.TorchBicubic:   C.CVF_TORCH_BICUBIC,
}

// resizings returns what is made of a picture as its rows come, one for each spec of the
// outputs. They are not told where it goes. An output that the picture does not suit is left
// out: Tensor will return the error.
func (m *Meter) resizings(p picture, outs []*transform.Output) (all []resizing) {
	if !m.rows {
		return nil
	}
	for _, o := range outs {
		pictures, err := p.geometries(&o.Spec)
		if err != nil || slices.ContainsFunc(all, func(r resizing) bool { return *r.spec == o.Spec }) {
			continue
		}
		for i, g := range pictures {
			all = append(all, m.resizing(of{&o.Spec, i}, g))
		}
	}
	return all
}

func (m *Meter) resizing(of of, g transform.Geometry) resizing {
	s := of.spec
	gray := s.Color == transform.Gray
	differs := m.differs[way{s.Resize, gray}] || s.Resize == transform.OpenCVCubic && !floatCubic(g.Region.Size())
	if differs && g.Resized != g.Region.Size() || m.differs[way{"", gray}] {
		return resizing{of: of, apart: true, job: regionJob(g)}
	}
	return ownResizing(of, g.Region, g)
}

// ownResizing returns what this package itself makes of a region of a picture.
func ownResizing(of of, from image.Rectangle, g transform.Geometry) resizing {
	s := of.spec
	job := resizeJob(from, g, kinds[s.Resize])
	job.gray = flag(s.Color == transform.Gray)
	job.plain = flag(s.NoAntialias)
	job.floats = flag(s.ResizesFloats() && g.Resized != from.Size())
	return resizing{of: of, job: job}
}

// resizeJob returns the job of resizing a region of a picture as the geometry says.
func resizeJob(from image.Rectangle, g transform.Geometry, kind C.int) C.cvf_resize {
	part := g.Visible()
	return C.cvf_resize{
		kind: kind,
		x:    C.int(from.Min.X), y: C.int(from.Min.Y), w: C.int(from.Dx()), h: C.int(from.Dy()),
		full_w: C.int(g.Resized.X), full_h: C.int(g.Resized.Y),
		vx: C.int(part.Min.X), vy: C.int(part.Min.Y), vw: C.int(part.Dx()), vh: C.int(part.Dy()),
	}
}

// regionJob returns the job of copying the geometry's region.
func regionJob(g transform.Geometry) C.cvf_resize {
	whole := transform.Geometry{Region: g.Region, Resized: g.Region.Size(), Size: g.Region.Size()}
	return resizeJob(g.Region, whole, C.CVF_COPY)
}

// rowsBytes returns the memory that place takes.
func rowsBytes(all []resizing) int {
	n := len(all) * C.sizeof_cvf_resize
	for i := range all {
		n += all[i].bytes()
	}
	return n
}

// place makes room in the memory for what is made of a picture, and adds it to the picture.
// The jobs that it returns write there.
func (p *picture) place(m *memory, all []resizing) (*C.cvf_resize, error) {
	if err := m.reserve(rowsBytes(all)); err != nil {
		return nil, err
	}
	next := m.p
	for i := range all {
		r := &all[i]
		r.job.dst = (*C.uint8_t)(next)
		n, size := r.step(), r.size()
		v := view{p: next, step: n, stride: n * size.X, size: size, channels: r.channels(), floats: r.job.floats != 0}
		p.resized = append(p.resized, resized{of: r.of, apart: r.apart, view: v})
		next = unsafe.Add(next, r.bytes())
	}
	placed := unsafe.Slice((*C.cvf_resize)(next), len(all))
	copy(placed, jobs(all))
	return &placed[0], nil
}

// jobs returns the jobs by themselves.
func jobs(all []resizing) []C.cvf_resize {
	j := make([]C.cvf_resize, len(all))
	for i := range all {
		j[i] = all[i].job
	}
	return j
}

// feedScratch returns the scratch memory that it takes to feed a picture of a width.
func feedScratch(width int, all []resizing) int {
	return int(C.cvf_feed_scratch(C.int(width), unsafe.SliceData(jobs(all)), C.int(len(all))))
}

// feed makes of the pixels of a picture what it is to be resized to, in the memory.
func (w *Worker) feed(m *memory, src view, p picture, all []resizing) (picture, error) {
	jobs, err := p.place(m, all)
	if err != nil {
		return picture{}, err
	}
	p.view = view{}
	f := C.cvf_feed{
		pixels: (*C.uint8_t)(src.p), stride: C.ptrdiff_t(src.stride), w: C.int(src.size.X), h: C.int(src.size.Y),
		channels: C.int(src.channels), resizes: jobs, count: C.int(len(all)),
	}
	if err := w.scratch.reserve(feedScratch(src.size.X, all)); err != nil {
		return picture{}, err
	}
	C.cvf_feed_run(&f, w.scratch.p)
	return p, nil
}

// A resizer returns the visible part of the worker's picture, resized.
type resizer func(of, transform.Geometry) (view, error)

// compareSinks resizes a picture row by row and with OpenCV, to sizes for which some builds
// of it have filters of their own: larger, a little smaller, halved, a third, much smaller,
// and larger and smaller. It returns the ways in which some pixel differs; one of no name
// where it is the gray.
func (w *Worker) compareSinks(resize resizer) (map[way]bool, error) {
	defer func() {
		w.picture = picture{}
		for _, m := range w.memories() {
			m.free()
		}
	}()
	size := image.Pt(96, 78)
	src, err := w.pixels.picture(size, 3)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range src.bytes() {
		src.bytes()[i] = uint8(rng.Uint32())
	}
	differs := map[way]bool{}
	ways := []transform.Resize{"", transform.OpenCVNearest, transform.OpenCVLinear, transform.OpenCVArea, transform.OpenCVCubic}
	for _, how := range ways {
		for _, to := range []image.Point{{48, 39}, {192, 79}, {87, 73}, {32, 26}, {41, 30}, {16, 39}, {50, 100}} {
			for _, color := range []transform.Color{transform.BGR, transform.Gray} {
				s := &transform.Spec{Width: to.X, Height: to.Y, Fit: transform.Stretch, Resize: how, Color: color}
				if how == "" {
					s.Width, s.Height = 0, 0
				}
				same, err := w.compareSink(src, s, resize)
				if err != nil {
					return nil, err
				}
				if !same {
					differs[way{how, color == transform.Gray}] = true
				}
			}
		}
	}
	return differs, nil
}

// compareSink does it for one output.
func (w *Worker) compareSink(src view, s *transform.Spec, resize resizer) (same bool, err error) {
	g, err := s.Geometry(src.size)
	if err != nil {
		return false, err
	}
	p := picture{full: src.size, eighths: 8, view: src}
	made, err := w.feed(&w.rows, src, p, []resizing{(&Meter{}).resizing(of{spec: s}, g)})
	if err != nil {
		return false, err
	}
	w.picture = p
	want, err := resize(of{spec: s}, g)
	if err != nil {
		return false, err
	}
	return equal(made.resized[0].view, want), nil
}

// equal tells whether two views show the same pixels.
func equal(a, b view) bool {
	if a.size != b.size || a.channels != b.channels {
		return false
	}
	for y := range a.size.Y {
		for x := range a.size.X {
			if !bytes.Equal(a.pixel(x, y), b.pixel(x, y)) {
				return false
			}
		}
	}
	return true
}

// pixel returns the channels of a pixel.
func (v view) pixel(x, y int) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(v.p, y*v.stride+x*v.step)), v.channels)
}

// bytes returns the pixels of a view without gaps.
func (v view) bytes() []byte { return unsafe.Slice((*byte)(v.p), v.size.Y*v.stride) }
