package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
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
// The stream's ledger, its cursor and its freshness limit have no part in it. Each
// call costs two images of the service.
//
// Errors wrap [ErrUnknown], [ErrNotRunning], [source.ErrNoMedia], [source.ErrMedia]
// or a [*transform.DecodeError]; they are ctx's where that ended first, and otherwise
// the fetcher's or the worker's.
func (p *Pipeline) Frame(ctx context.Context, stream string, at time.Time, output string, use func(*transform.Tensor) error) error {
	ctx, leave, err := p.asked.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	s, o, err := p.find(stream, output)
	if err != nil {
		return err
	}
	j, err := s.request(ctx, s.Grid.Floor(source.SlotAt(at)), o)
	if err == nil {
		err = p.answer(ctx, j, use)
	}
	if ctx.Err() != nil && err != nil {
		return context.Cause(ctx)
	}
	return err
}

// find returns a stream and one of its outputs.
func (p *Pipeline) find(stream, output string) (*stream, *transform.Output, error) {
	p.mu.Lock()
	s := p.streams[stream]
	p.mu.Unlock()
	if s == nil && p.opts.Find != nil {
		if other, known := p.opts.Find(stream); known {
			s = newIdle(other, p.opts.Log)
		}
	}
	if s == nil {
		var names []string
		for _, s := range p.sorted() {
			names = append(names, s.Name)
		}
		return nil, nil, fmt.Errorf("%w stream %q: there is %s", ErrUnknown, stream, list(names))
	}
	var names []string
	for _, o := range s.Outputs {
		if o.Name == output {
			return s, o, nil
		}
		names = append(names, o.Name)
	}
	return nil, nil, fmt.Errorf("%w output %q of stream %s: there is %s", ErrUnknown, output, stream, list(names))
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

// request fetches the picture of a slot, as a job of one output.
func (s *stream) request(ctx context.Context, slot source.Slot, o *transform.Output) (*job, error) {
	age := time.Since(slot.Time())
	if age < 0 {
		return nil, fmt.Errorf("%w at %v, which is in the future", source.ErrNoMedia, slot)
	}
	if s.Poll.Retention != nil {
		if keeps := s.Poll.Retention(); keeps > 0 && age > keeps {
			return nil, fmt.Errorf("%w at %v: stream %s keeps its media for %v", source.ErrNoMedia, slot, s.Name, keeps)
		}
	}
	img, err := s.fetch(ctx, slot)
	if err != nil {
		return nil, err
	}
	j := newJob(source.Frame{Stream: s.Name, Slot: slot, Capture: img.Time, Data: img.Data}, s)
	j.outputs, j.asked = []*transform.Output{o}, true
	return j, nil
}

// fetch asks for the image of a slot. As the service finds media only by fragments
// that start within the window, that begins a whole fragment earlier; the interval
// is as long, so that only two images are made.
func (s *stream) fetch(ctx context.Context, slot source.Slot) (poll.Image, error) {
	w := poll.Window{Start: slot.Add(-poll.MaxFragment), End: slot, Interval: poll.MaxFragment}
	for img, err := range s.Fetcher.Images(ctx, w) {
		switch {
		case errors.Is(err, poll.ErrEmptyWindow):
			return img, s.noMedia(slot)
		case err != nil:
			return img, err
		case !near(img.Time, slot, min(s.Grid.Interval(), w.Interval)) || errors.Is(img.Err, source.ErrNoMedia):
			continue
		case img.Err != nil:
			return img, fmt.Errorf("stream %s at %v: %w", s.Name, slot, img.Err)
		}
		return img, nil
	}
	return poll.Image{}, s.noMedia(slot)
}

// near tells whether an image of time t stands for a slot, as the next is an interval
// away.
func near(t time.Time, slot source.Slot, interval time.Duration) bool {
	off := source.SlotAt(t).Sub(slot) + interval/2
	return off >= 0 && off < interval
}

// noMedia says so, and which slot is known to have some.
func (s *stream) noMedia(slot source.Slot) error {
	var newest source.Slot
	if s.ledger != nil { // it runs here
		newest = s.ledger.Stats().Newest
	}
	switch {
	case newest == 0:
		return fmt.Errorf("%w at %v: stream %s has none then, or not yet", source.ErrNoMedia, slot, s.Name)
	case slot > newest:
		return fmt.Errorf("%w at %v: stream %s has none then, or not yet: its newest tensor is of %v", source.ErrNoMedia, slot, s.Name, newest)
	}
	return fmt.Errorf("%w at %v: stream %s has none then", source.ErrNoMedia, slot, s.Name)
}

// answer has a worker do the job, and calls use with its tensor.
func (p *Pipeline) answer(ctx context.Context, j *job, use func(*transform.Tensor) error) error {
	if !p.admit(ctx, j) {
		return ctx.Err()
	}
	<-j.done
	defer p.release(j)
	if j.err != nil {
		return fmt.Errorf("stream %s at %v: %w", j.stream.Name, j.frame.Slot, j.err)
	}
	return use(j.tensors[0])
}

// requests are the calls of [Pipeline.Frame] that have not returned. They need the
// workers, so they end before these do.
type requests struct {
	mu     sync.Mutex
	open   bool
	cancel map[*int]context.CancelCauseFunc
	inside sync.WaitGroup
}

func (r *requests) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open, r.cancel = true, map[*int]context.CancelCauseFunc{}
}

// end refuses new requests, cuts short those that there are, and waits for them.
func (r *requests) end() {
	r.mu.Lock()
	r.open = false
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
	if !r.open {
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
