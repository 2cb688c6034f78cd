package pipeline

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// clips make the clips of one stream's outputs of its frames. What is read beside the stream, such
// as frames that somebody asked for, has no clips: its frames are tensors by themselves.
type clips struct {
	turns     *turns
	routes    []*transform.Clips // nil for an output without clips
	audiences []audience         // by route
	asks      atomic.Bool        // somebody asks the broker
	asking    sync.WaitGroup
	held      int64 // the bytes of the frames that are kept
}

// An audience is what is known of who listens to a subject with clips. Until a clip shows
// otherwise, somebody does. From then on the broker is asked: a single frame would tell nothing,
// because only a whole clip is published.
type audience struct {
	gone atomic.Bool
	next time.Time // when to ask again; of the delivery only
}

// askAudience is how often the broker is asked whether somebody listens again, and askTime how
// long it may take.
const (
	askAudience = 2 * time.Second
	askTime     = 5 * time.Second
)

// newClips returns the clips of a stream, nil where no output has any.
func (p *Pipeline) newClips(s Stream) *clips {
	n := len(s.Routes)
	c, some := &clips{turns: p.turns, routes: make([]*transform.Clips, n), audiences: make([]audience, n)}, false
	for i, r := range s.Routes {
		if r.Output.Spec.Clip.Frames > 0 {
			c.routes[i], some = transform.NewClips(r.Output, s.Grid, p.opts.Buffers), true
		}
	}
	if !some {
		return nil
	}
	return c
}

// of returns the clips of a route, nil where it has none.
func (c *clips) of(route int) *transform.Clips {
	if c == nil {
		return nil
	}
	return c.routes[route]
}

// wants tells whether the clips of a route have the frame of a slot.
func (c *clips) wants(route int, s source.Slot) bool {
	of := c.of(route)
	return of != nil && of.Wants(s)
}

// heard tells whether somebody listens to the clips of a route, as far as it is known.
func (c *clips) heard(route int) bool { return !c.audiences[route].gone.Load() }

// unheard notes that a clip of a route has reached nobody.
func (c *clips) unheard(route int) {
	c.audiences[route].gone.Store(true)
	c.audiences[route].next = time.Now().Add(askAudience)
}

// ask asks the broker whether somebody listens again to the clips of a route, once in a while. It
// does not wait for the answer.
func (c *clips) ask(ctx context.Context, d publish.Delivery, route int, subject string) {
	a := &c.audiences[route]
	now := time.Now()
	if !a.gone.Load() || now.Before(a.next) {
		return
	}
	if !c.asks.CompareAndSwap(false, true) {
		return // it is being asked
	}
	a.next = now.Add(askAudience)
	c.asking.Go(func() {
		defer c.asks.Store(false)
		ctx, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		some, err := d.Interest(ctx, subject)
		if some || err != nil && !dropped(err) && ctx.Err() == nil { // then the next clip will tell
			a.gone.Store(false)
		}
	})
}

// take returns what is to be published of a job's tensor for a route: the tensor, or the clips
// that are complete with it, which then has become a part of them.
func (c *clips) take(j *job, route int) []*transform.Tensor {
	t, of := j.result.tensor(route), c.of(route)
	switch {
	case of == nil && t == nil:
		return nil
	case of == nil:
		return []*transform.Tensor{t}
	case !of.Wants(j.frame.Slot) || j.frame.Late:
		return nil // somebody looks at it, or it came too late
	case t == nil: // nobody listens
		of.Reset()
		c.hold()
		return nil
	}
	j.result.tensors[route] = nil
	if viewed(j.result.viewers, t.Output) {
		j.result.tensors[route] = cloned(t)
	}
	made := of.Add(t)
	c.hold()
	return made
}

// hold has what is kept counted in the budget.
func (c *clips) hold() {
	held := int64(0)
	for _, of := range c.routes {
		if of != nil {
			held += of.Bytes()
		}
	}
	c.turns.keep(held - c.held)
	c.held = held
}

// reset forgets all frames, once nobody asks any more.
func (c *clips) reset() {
	if c == nil {
		return
	}
	c.asking.Wait()
	for _, of := range c.routes {
		if of != nil {
			of.Reset()
		}
	}
	c.hold()
}

// cloned returns a tensor with memory of its own.
func cloned(t *transform.Tensor) *transform.Tensor {
	return &transform.Tensor{
		Stream: t.Stream, Slot: t.Slot, Capture: t.Capture, Output: t.Output,
		Shape: t.Shape, Source: t.Source, Affines: t.Affines, Data: bytes.Clone(t.Data),
	}
}
