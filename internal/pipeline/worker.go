package pipeline

import (
	"errors"
	"fmt"
	"image"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/quality"
)

// A Worker turns frames into tensors. It is used by one goroutine.
type Worker interface {
	// Luma returns the brightness of a frame's picture at an eighth of its size, for the
	// gates, and the size of the whole picture. It is the worker's until Rest. An error
	// means that there is none of this kind of picture, or that Decode will fail.
	Luma(f source.Frame, c *transform.Camera) (luma *image.Gray, size image.Point, err error)
	// Decode decodes a frame, for Tensor to make the outputs of it.
	Decode(f source.Frame, c *transform.Camera, outs []*transform.Output) error
	// KeepLuma says whether Decode keeps the brightness of its pictures for KeptLuma: that of
	// Luma, as [quality.Sparse] has it, and the size of the whole picture; nil if there is none of
	// this kind of picture. It is the worker's until Rest.
	KeepLuma(keep bool)
	KeptLuma() (luma *image.Gray, size image.Point)
	// Tensor makes an output's tensor of the decoded frame.
	Tensor(o *transform.Output) (*transform.Tensor, error)
	// Rest is called when the decoded frame is no longer needed. The worker gives back the
	// memory that it does not keep for the next one.
	Rest()
	Close()
}

// Measure reads the header of a frame's picture. It returns the picture's size in pixels,
// and how many bytes of memory a worker takes to decode it and to make the outputs, besides
// the frame and the tensors. A picture that cannot be decoded takes none.
type Measure func(f source.Frame, c *transform.Camera, outs []*transform.Output) (size image.Point, work int64)

var errStale = errors.New("older than the freshness limit")

// A job is one frame on its way from the feed to the delivery.
type job struct {
	camera *camera
	frame  source.Frame
	routes []publish.Route // the outputs to make: all of the stream's, or the requested one
	views  *views          // who may want to look at it; nil for a requested frame
	// delivery is where the tensors go, nil for a requested frame.
	delivery publish.Delivery
	gated    *gated // nil for a frame that passes no gates
	clips    *clips // nil for a frame that is in no clips
	sight    *sight // nil for a frame that nobody looks at
	seen     frameObservers
	turn     turn
	parts    parts

	// result belongs to the worker until done is closed, and then to whoever waited for
	// that.
	result result
	done   chan struct{}
}

// A result is what a worker makes of a job.
type result struct {
	tensors []*transform.Tensor // by route; nil for one that nobody listens to, or all of them
	viewers []*viewer           // who wants to see it
	look    *quality.Look       // nil if it was not looked at
	err     error
}

// tensor returns the tensor of a route, nil where none was made.
func (r *result) tensor(route int) *transform.Tensor {
	if r.tensors == nil {
		return nil
	}
	return r.tensors[route]
}

// newJob returns the job of a frame that the feed yielded.
func (s *stream) newJob(f source.Frame) *job {
	j := &job{
		camera: s.camera, delivery: s.delivery, frame: f, routes: s.Routes, views: &s.views, clips: s.clips,
		seen: s.seen.frame(f, false), turn: newTurn(), parts: newParts(), done: make(chan struct{}),
	}
	s.gate(j)
	if s.Health != nil && !s.outing && !f.Late {
		j.sight = &s.sight
	}
	return j
}

// newRequest returns the job of a frame that somebody asked for, of one output.
func newRequest(c *camera, f source.Frame, r publish.Route) *job {
	return &job{camera: c, frame: f, routes: []publish.Route{r}, seen: c.seen.frame(f, true), turn: newTurn(), done: make(chan struct{})}
}

// requested tells whether somebody asked for the frame: then it is made however old it
// is and whoever listens.
func (j *job) requested() bool { return j.views == nil }

// skip ends a job as stale, without a worker.
func (j *job) skip() {
	j.result.err = errStale
	j.recycle()
	close(j.done)
}

// recycle gives back the memory of the frame's picture, which nobody needs any more.
func (j *job) recycle() {
	if j.frame.Recycle != nil {
		j.frame.Recycle()
	}
	j.frame.Data, j.frame.Recycle = nil, nil
}

// measure works out how many bytes the job will hold: the frame, its tensors, and what the
// worker takes meanwhile.
func (j *job) measure(measure Measure) int64 {
	var size image.Point
	n := int64(len(j.frame.Data))
	if measure != nil {
		var work int64
		size, work = measure(j.frame, j.camera.Camera, j.camera.outputs)
		n += work
	}
	for i, r := range j.routes {
		if !r.Output.Spec.Decodes() {
			n += int64(len(j.frame.Data))
			continue
		}
		bytes, err := r.Output.Spec.BytesOf(size)
		if err == nil { // otherwise there will be no tensor
			n += int64(bytes)
		}
		if c := j.clips.of(i); c != nil && c.Ends(j.frame.Slot) {
			n += int64(r.Output.Spec.ClipBytes(bytes))
		}
	}
	return n
}

// held returns how many bytes a job holds that no worker has any more.
func (j *job) held() int64 {
	n := int64(len(j.frame.Data))
	for _, t := range j.result.tensors {
		if t != nil {
			n += int64(len(t.Data))
		}
	}
	return n
}

// stale tells whether the frame is older than the limit at now, by the service's clock.
func (j *job) stale(now time.Time) bool {
	limit := j.camera.Freshness
	return !j.requested() && !j.frame.Late && limit > 0 && now.Add(-j.frame.Trail).Sub(j.frame.Slot.Time()) > limit
}

// work transforms jobs until there are no more.
func (p *Pipeline) work(w Worker) {
	defer w.Close()
	for {
		j := p.turns.next()
		if j == nil {
			return
		}
		begin := time.Now()
		j.result = p.transform(w, j)
		w.Rest()
		took := time.Since(begin)
		p.load.worked(took)
		if j.result.viewers == nil {
			j.recycle()
		}
		p.turns.worked(j, took)
		close(j.done)
	}
}

// transform makes a job's tensors. What is decoded is the same whichever of the
// stream's outputs are made.
func (p *Pipeline) transform(w Worker, j *job) (r result) {
	wanted := p.choose(w, j, &r)
	if wanted == nil || r.err != nil {
		return r
	}
	begin := time.Now()
	looks := r.look == nil && j.looks()
	w.KeepLuma(looks)
	r.err = w.Decode(j.frame, j.camera.Camera, j.decoded(wanted))
	j.seen.decoded(time.Since(begin), r.err)
	if r.err != nil {
		return r
	}
	if looks {
		r.look = j.look(w.KeptLuma())
	}
	r.tensors = make([]*transform.Tensor, len(j.routes))
	for i, route := range j.routes {
		if !wanted[i] {
			continue
		}
		begin := time.Now()
		t, err := w.Tensor(route.Output)
		j.seen.transformed(route.Output, t, time.Since(begin), err)
		if err != nil {
			r.err = fmt.Errorf("output %s: %w", route.Output.Name, err)
			return r
		}
		r.tensors[i] = t
	}
	return r
}

// decoded returns the outputs to decode a frame for: all of the stream's, so that tensors do not
// depend on who listens; or the originals alone, which need no decoding, if nothing else is wanted.
func (j *job) decoded(wanted []bool) []*transform.Output {
	var originals []*transform.Output
	for i, route := range j.routes {
		switch {
		case !wanted[i]:
		case route.Output.Spec.Decodes():
			return j.camera.outputs
		default:
			originals = append(originals, route.Output)
		}
	}
	return originals
}

// choose tells which of a job's outputs are to be made, nil where it is none: those that
// somebody listens to, unless a gate holds them back, and those that somebody looks at.
func (p *Pipeline) choose(w Worker, j *job, r *result) []bool {
	defer j.gated.leave()
	if !j.requested() {
		r.viewers = j.views.take(j.frame.Slot, j.routes)
	}
	if j.stale(p.opts.Now()) {
		r.err = errStale
		return nil
	}
	wanted, some := make([]bool, len(j.routes)), false
	for i, route := range j.routes {
		switch {
		case j.requested():
			wanted[i] = true
		case j.clips.of(i) != nil:
			wanted[i] = j.clips.wants(i, j.frame.Slot) && j.clips.heard(i)
		default:
			wanted[i] = j.delivery.Watched(route.Subject)
		}
	}
	r.look = j.gated.pass(w, j, wanted)
	for i, route := range j.routes {
		wanted[i] = wanted[i] && !j.gated.holds(i) || viewed(r.viewers, route.Output)
		some = some || wanted[i]
	}
	if !some {
		return nil
	}
	return wanted
}
