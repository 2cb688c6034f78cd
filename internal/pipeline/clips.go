package pipeline

import (
	"bytes"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// clips make the clips of one stream's outputs of its frames. What is read beside the stream, such
// as frames that somebody asked for, has no clips: its frames are tensors by themselves.
type clips struct {
	turns  *turns
	routes []*transform.Clips // nil for an output without clips
	held   int64              // the bytes of the frames that are kept
}

// newClips returns the clips of a stream, nil where no output has any.
func (p *Pipeline) newClips(s Stream) *clips {
	c, some := &clips{turns: p.turns, routes: make([]*transform.Clips, len(s.Routes))}, false
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

// wants tells whether a route needs the frame of a slot.
func (c *clips) wants(route int, s source.Slot) bool {
	of := c.of(route)
	return of == nil || of.Wants(s)
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
	case t == nil:
		of.Reset() // nobody listens
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

// reset forgets all frames.
func (c *clips) reset() {
	if c == nil {
		return
	}
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
