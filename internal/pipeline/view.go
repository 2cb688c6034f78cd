package pipeline

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

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

// View waits for the next frame of a stream to end, and returns it with the tensor
// of the output. Frames are kept for nobody else: where nobody waits, this costs one
// atomic read a frame. Errors wrap [ErrUnknown] or [ErrNotRunning], or are ctx's.
func (p *Pipeline) View(ctx context.Context, stream, output string) (View, error) {
	ctx, leave, err := p.asked.enter(ctx)
	if err != nil {
		return View{}, err
	}
	defer leave()
	s, o, err := p.find(stream, output)
	if err != nil {
		return View{}, err
	}
	if s.poller == nil {
		return View{}, fmt.Errorf("%w here: stream %s is read by another replica", ErrUnknown, stream)
	}
	v := &view{output: o, seen: make(chan View, 1)}
	s.views.add(v)
	defer s.views.drop(v)
	select {
	case seen := <-v.seen:
		return seen, nil
	case <-ctx.Done():
		return View{}, context.Cause(ctx)
	}
}

// A view is somebody who waits for a frame.
type view struct {
	output *transform.Output
	seen   chan View
}

// views are those of a stream that no frame has been found for yet.
type views struct {
	n       atomic.Int32 // how many wait, so that frames need not lock
	mu      sync.Mutex
	waiting []*view
}

func (vs *views) add(v *view) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	vs.waiting = append(vs.waiting, v)
	vs.n.Store(int32(len(vs.waiting)))
}

func (vs *views) drop(v *view) {
	vs.take1(func(w *view) bool { return w == v })
}

// take returns those who wait for the job's frame, one for each output: the tensor
// is given away.
func (vs *views) take(j *job) []*view {
	if vs.n.Load() == 0 || j.asked {
		return nil
	}
	var taken []*view
	for _, o := range j.outputs {
		if v := vs.take1(func(v *view) bool { return v.output == o }); v != nil {
			taken = append(taken, v)
		}
	}
	return taken
}

// take1 removes the first view that fits, nil where there is none.
func (vs *views) take1(fits func(*view) bool) *view {
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

// viewed tells whether somebody wants to see an output's tensor.
func (j *job) viewed(output int) bool {
	for _, v := range j.views {
		if v.output == j.outputs[output] {
			return true
		}
	}
	return false
}

// show gives the frame, and its tensors away, to those who wanted to see them.
func (j *job) show(outcome source.Outcome) {
	j.frame.Recycle = nil // several may look
	for _, v := range j.views {
		seen := View{Frame: j.frame, Outcome: outcome, Err: j.err}
		for i, t := range j.tensors {
			if t != nil && j.outputs[i] == v.output {
				seen.Tensor, j.tensors[i] = t, nil
			}
		}
		v.seen <- seen
	}
	j.views, j.frame.Data = nil, nil
}
