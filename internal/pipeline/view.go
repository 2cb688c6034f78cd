package pipeline

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// A View is one frame of a stream as somebody looks at it.
type View struct {
	Frame   source.Frame
	Outcome source.Outcome
	// Tensor is the output's, nil where none was made: then Err tells why. It is the
	// receiver's to release.
	Tensor *transform.Tensor
	Err    error
}

// View waits for the next frame of a stream to end whose slot is not before from (0 for
// any), and returns it with the tensor of the output. Frames are kept for nobody else: while nobody waits, this costs one
// atomic read a frame. Errors wrap [ErrUnknown] or [ErrNotRunning], or are ctx's.
func (p *Pipeline) View(ctx context.Context, stream, output string, from source.Slot) (View, error) {
	ctx, leave, err := p.requests.enter(ctx)
	if err != nil {
		return View{}, err
	}
	defer leave()
	p.mu.Lock()
	s := p.streams[stream]
	p.mu.Unlock()
	if s == nil {
		if _, _, err := p.find(stream, output); err != nil {
			return View{}, err
		}
		return View{}, fmt.Errorf("%w here: stream %s is read by another replica", ErrUnknown, stream)
	}
	route, err := s.route(output)
	if err != nil {
		return View{}, err
	}
	v := &viewer{output: route.Output, from: from, seen: make(chan View, 1)}
	s.views.add(v)
	defer s.views.remove(v)
	select {
	case seen := <-v.seen:
		return seen, nil
	case <-ctx.Done():
		return View{}, context.Cause(ctx)
	}
}

// A viewer is somebody who waits for a frame.
type viewer struct {
	output *transform.Output
	from   source.Slot
	seen   chan View
}

// views are the viewers of a stream that still wait for a frame.
type views struct {
	n       atomic.Int32 // how many wait, so that frames need not lock
	mu      sync.Mutex
	waiting []*viewer
}

func (vs *views) add(v *viewer) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	vs.waiting = append(vs.waiting, v)
	vs.n.Store(int32(len(vs.waiting)))
}

func (vs *views) remove(v *viewer) {
	vs.takeFirst(func(w *viewer) bool { return w == v })
}

// take returns a viewer for each output of a frame of a slot: its tensor is given away.
func (vs *views) take(of source.Slot, routes []publish.Route) []*viewer {
	if vs.n.Load() == 0 {
		return nil
	}
	var taken []*viewer
	for _, r := range routes {
		if v := vs.takeFirst(func(v *viewer) bool { return v.output == r.Output && v.from <= of }); v != nil {
			taken = append(taken, v)
		}
	}
	return taken
}

// takeFirst removes the first viewer that fits, nil where there is none.
func (vs *views) takeFirst(fits func(*viewer) bool) *viewer {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for i, v := range vs.waiting {
		if fits(v) {
			vs.waiting = append(vs.waiting[:i:i], vs.waiting[i+1:]...)
			vs.n.Store(int32(len(vs.waiting)))
			return v
		}
	}
	return nil
}

// viewed tells whether one of the viewers wants to see an output's tensor.
func viewed(viewers []*viewer, o *transform.Output) bool {
	return slices.ContainsFunc(viewers, func(v *viewer) bool { return v.output == o })
}

// show gives the frame to those who wanted to see it, and its tensors away.
func (j *job) show(outcome source.Outcome) {
	j.frame.Recycle = nil // several may look at it
	for _, v := range j.result.viewers {
		seen := View{Frame: j.frame, Outcome: outcome, Err: j.result.err}
		for i, t := range j.result.tensors {
			if t != nil && j.routes[i].Output == v.output {
				seen.Tensor, j.result.tensors[i] = t, nil
			}
		}
		v.seen <- seen
	}
	j.result.viewers, j.frame.Data = nil, nil
}
