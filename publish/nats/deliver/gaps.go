package deliver

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// An announcer announces gaps to consumers, in the mode that it was made with.
type announcer struct {
	mode publish.GapMode
	// control carries events, and publish sends inline gaps.
	control *dial.Connection
	publish func(context.Context, publish.Message) error
	// unconfirmed says that an event may not have reached the server yet.
	unconfirmed atomic.Bool
}

// announce implements Gap of [publish.Delivery].
func (a *announcer) announce(ctx context.Context, g publish.Gap, routes []publish.Route) error {
	switch a.mode {
	case publish.GapEvents:
		return a.event(ctx, g)
	case publish.InlineGaps:
		return a.inline(ctx, g, routes)
	default:
		return nil
	}
}

// event publishes the event of a gap, at most once.
func (a *announcer) event(ctx context.Context, g publish.Gap) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m, err := publish.NewGapMessage(g)
	if err != nil {
		return err
	}
	if err := a.control.Ready(); err != nil {
		return err
	}
	a.unconfirmed.Store(true)
	return a.control.Publish(m, "")
}

// inline publishes a gap in its place on each of the routes. If it is dropped on one, it
// is published on the others all the same.
func (a *announcer) inline(ctx context.Context, g publish.Gap, routes []publish.Route) error {
	var dropped []error
	for _, r := range routes {
		err := a.publish(ctx, publish.NewInlineGap(r.Subject, g, r.Output))
		var drop *publish.DropError
		switch {
		case errors.As(err, &drop):
			dropped = append(dropped, err)
		case err != nil:
			return err
		}
	}
	return errors.Join(dropped...)
}

// confirm returns nil when all events have reached the server.
func (a *announcer) confirm(ctx context.Context) error {
	if !a.unconfirmed.Swap(false) {
		return nil
	}
	err := a.control.Flush(ctx)
	if err != nil {
		a.unconfirmed.Store(true)
	}
	return err
}
