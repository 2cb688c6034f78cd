package publishtest

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/cvfeeder/cvfeeder/publish"
)

// Memory is a [publish.Delivery] in memory. The zero value is ready to use.
type Memory struct {
	Gaps      publish.GapMode             // of the zero value: none
	Fail      func(publish.Message) error // where set, returns the error of a message
	Unwatched func(subject string) bool   // where set, tells whether nobody listens
	mu        sync.Mutex
	messages  []publish.Message
}

// Publish implements [publish.Delivery].
func (d *Memory) Publish(ctx context.Context, m publish.Message) error {
	err := ctx.Err()
	if err == nil && d.Fail != nil {
		err = d.Fail(m)
	}
	if err == nil {
		m.Data = bytes.Clone(m.Data)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.messages = append(d.messages, m)
	}
	return err
}

// Gap implements [publish.Delivery].
func (d *Memory) Gap(ctx context.Context, g publish.Gap, routes []publish.Route) (err error) {
	if d.Gaps == publish.GapEvents {
		event, _ := publish.NewGapMessage(g) // it fails for no gap
		return d.Publish(ctx, event)
	}
	for i := 0; d.Gaps == publish.InlineGaps && i < len(routes) && err == nil; i++ {
		err = d.Publish(ctx, publish.NewInlineGap(routes[i].Subject, g, routes[i].Output))
	}
	return err
}

// Confirm implements [publish.Delivery].
func (d *Memory) Confirm(ctx context.Context) error { return ctx.Err() }

// Watched implements [publish.Delivery].
func (d *Memory) Watched(subject string) bool { return d.Unwatched == nil || !d.Unwatched(subject) }

// Interest implements [publish.Delivery].
func (d *Memory) Interest(ctx context.Context, subject string) (bool, error) {
	if d.Fail != nil {
		if err := d.Fail(publish.Message{Subject: subject}); err != nil {
			return false, err
		}
	}
	return d.Watched(subject), ctx.Err()
}

// Received returns the messages that were delivered on a subject, in order.
func (d *Memory) Received(subject string) []publish.Message {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(d.messages), func(m publish.Message) bool { return m.Subject != subject })
}
