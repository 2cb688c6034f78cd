package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// Why [Pipeline.Frame] refuses.
var (
	// ErrUnknown: there is no such stream, or it has no such output.
	ErrUnknown = errors.New("unknown")
	// ErrNotRunning: the pipeline has not begun, or is ending.
	ErrNotRunning = errors.New("not running")
)

// Frame fetches the picture of one slot, and calls use with the output's tensor of
// it, which is the one that was or will be published. The slot is the last of the
// stream's grid at or before at. The tensor belongs to use, and counts against the
// budget, until use returns; its error is Frame's.
//
// The stream's ledger, its cursor and its freshness limit have no part in it. What a
// call costs is the feed's affair.
//
// Errors wrap [ErrUnknown], [ErrNotRunning], [source.ErrNoMedia], [source.ErrMedia]
// or a [*transform.DecodeError]; they are ctx's where that ended first, and otherwise
// the feed's or the worker's.
func (p *Pipeline) Frame(ctx context.Context, stream string, at time.Time, output string, use func(*transform.Tensor) error) error {
	return p.Look(ctx, stream, at, output, func(_ source.Frame, t *transform.Tensor) error { return use(t) })
}

// Look is [Pipeline.Frame] for who wants to see the frame, too, which belongs to use in the
// same way.
func (p *Pipeline) Look(ctx context.Context, stream string, at time.Time, output string, use func(source.Frame, *transform.Tensor) error) error {
	ctx, leave, err := p.requests.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	c, route, err := p.find(stream, output)
	if err != nil {
		return err
	}
	f, err := c.feed.Frame(ctx, c.Grid.Floor(source.SlotAt(at)))
	if err == nil {
		if f.Recycle != nil {
			defer f.Recycle()
		}
		f.Recycle = nil // not when the worker is done, but when use is
		err = p.answer(ctx, newRequest(c, f, route), func(t *transform.Tensor) error { return use(f, t) })
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return fmt.Errorf("stream %s: %w", stream, err)
}

// find returns a stream of which frames can be requested, and the route of an output.
func (p *Pipeline) find(stream, output string) (*camera, publish.Route, error) {
	c, err := p.camera(stream)
	if err != nil {
		return nil, publish.Route{}, err
	}
	r, err := c.route(output)
	return c, r, err
}

// camera returns that of a stream, which runs here or is known to run elsewhere.
func (p *Pipeline) camera(stream string) (*camera, error) {
	p.mu.Lock()
	s := p.streams[stream]
	p.mu.Unlock()
	if s != nil {
		return s.camera, nil
	}
	if p.opts.Find != nil {
		if other, known := p.opts.Find(stream); known {
			return open(other, source.SlotAt(p.opts.Now()), nil, func(error) {}), nil
		}
	}
	var names []string
	for _, s := range p.sorted() {
		names = append(names, s.Name)
	}
	return nil, fmt.Errorf("%w stream %q: there is %s", ErrUnknown, stream, list(names))
}

// route returns that of an output.
func (c *camera) route(output string) (publish.Route, error) {
	var names []string
	for _, r := range c.Routes {
		if r.Output.Name == output {
			return r, nil
		}
		names = append(names, r.Output.Name)
	}
	return publish.Route{}, fmt.Errorf("%w output %q of stream %s: there is %s", ErrUnknown, output, c.Name, list(names))
}

// list returns names for an error message.
func list(names []string) string {
	const most = 20
	if len(names) == 0 {
		return "none"
	}
	text := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// answer has a worker do the job, and calls use with its tensor.
func (p *Pipeline) answer(ctx context.Context, j *job, use func(*transform.Tensor) error) error {
	if !p.admit(ctx, j) {
		j.seen.ended(source.Pending, ctx.Err())
		return ctx.Err()
	}
	<-j.done
	defer p.release(j)
	j.seen.ended(source.Pending, j.result.err)
	if err := j.result.err; err != nil {
		return fmt.Errorf("%v: %w", j.frame.Slot, err)
	}
	return use(j.result.tensors[0])
}

// requests are the calls of [Pipeline.Frame] and [Pipeline.View] that have not returned.
// They need the workers, so they end before these do.
type requests struct {
	mu     sync.Mutex
	opened bool
	cancel map[*int]context.CancelCauseFunc
	inside sync.WaitGroup
}

func (r *requests) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opened, r.cancel = true, map[*int]context.CancelCauseFunc{}
}

// close refuses new requests, cuts short those that there are, and waits for them.
func (r *requests) close() {
	r.mu.Lock()
	r.opened = false
	for _, cancel := range r.cancel {
		cancel(ErrNotRunning)
	}
	r.mu.Unlock()
	r.inside.Wait()
}

// enter returns the context of a request. Its caller calls leave at the end.
func (r *requests) enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.opened {
		return nil, nil, ErrNotRunning
	}
	ctx, cancel := context.WithCancelCause(ctx)
	key := new(int)
	r.cancel[key] = cancel
	r.inside.Add(1)
	return ctx, func() {
		cancel(nil)
		r.mu.Lock()
		delete(r.cancel, key)
		r.mu.Unlock()
		r.inside.Done()
	}, nil
}
