package feeder

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/budget"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/publish/nats/reply"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/ondemand"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// mostAhead is how far in the future a range may end: it then ends when that time has come.
const mostAhead = time.Minute

// What is reserved for a range besides its slots: a window overlaps the one before, by a fifth
// of its slots where that is cheap, and the first one begins a fragment earlier.
const (
	slotsPerOverlap = 4
	firstOverlap    = 10 * time.Second
)

// rangesOf returns how requests for ranges are answered.
func (p *parts) rangesOf() *frames.Ranges {
	r := &frames.Ranges{Read: p.readRange, Observe: func(o frames.Outcome) { p.metrics.RangeRequest(string(o)) }}
	if p.broker.conn.Splits() {
		r.Split = publish.Split
	}
	return r
}

// readRange reads a range on request, in the background.
func (p *parts) readRange(ctx context.Context, r frames.RangeRequest, begin func(reply.Summary) (context.Context, *reply.Reply, error)) (int, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	payer := &payer{stop: stop}
	s, err := p.rangeOf(r, payer)
	var limit *budget.Error
	switch {
	case errors.As(err, &limit):
		e := &frames.Error{Code: frames.CodeBusy, Text: err.Error(), Wait: limit.Use.Until.Sub(p.service.Now())}
		return 0, fmt.Errorf("%w: %w", frames.ErrImages, e)
	case err != nil:
		return 0, serviceError(err)
	}
	slots := s.Grid.Count(s.From, s.To)
	images := slots + slots/slotsPerOverlap + int(firstOverlap/s.Grid.Interval()) + 1
	reservation, err := p.requested.Reserve(r.Asker, images)
	if err != nil {
		return 0, spentError(err)
	}
	defer reservation.Settle()
	payer.reservation = reservation
	work, to, err := begin(reply.Summary{Slots: slots, Images: images})
	if err != nil {
		return 0, err
	}
	// Whatever ends the work ends the reading, and so does a payer that has nothing left.
	defer context.AfterFunc(work, func() { stop(context.Cause(work)) })()
	valve := newValve(to.Room)
	s.Open = valve.of(unlessRefused(s.Open, stop))
	outing := p.pipeline.Begin(pipeline.Excursion{
		Stream: s, Delivery: to, Background: true, Observers: append([]pipeline.Observer{valve}, p.traces.observers...),
	})
	err = outing.Run(ctx)
	switch cause := context.Cause(ctx); {
	case err == nil:
	case errors.Is(cause, pipeline.ErrNotRunning), errors.Is(err, pipeline.ErrNotRunning):
		err = &frames.Error{Code: frames.CodeStopping, Text: "cvfeeder is stopping, or its streams have not begun yet"}
	case errors.Is(cause, source.ErrRefused):
		err = fmt.Errorf("stream %s: %w", r.Stream, cause)
	case errors.Is(cause, ondemand.ErrSpent), errors.Is(cause, ondemand.ErrTooMany):
		err = spentError(cause)
	case errors.Is(cause, reply.ErrIdle):
		err = fmt.Errorf("stream %s: %w", r.Stream, errors.Join(cause, outing.State().Problem))
	}
	return reservation.Used(), serviceError(err)
}

// unlessRefused returns what opens a feed, which stops when the credentials are refused: other
// errors may pass while the requester waits, but not this one.
func unlessRefused(open source.OpenFeed, stop context.CancelCauseFunc) source.OpenFeed {
	return func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
		return open(l, func(took time.Duration, err error) {
			fetched(took, err)
			if errors.Is(err, source.ErrRefused) {
				stop(err)
			}
		})
	}
}

// rangeOf returns the stream that reads what a request asks for.
func (p *parts) rangeOf(r frames.RangeRequest, from *payer) (pipeline.Stream, error) {
	now := source.SlotAt(p.service.Now())
	if r.To > now.Add(mostAhead) {
		return pipeline.Stream{}, &frames.Error{
			Code: frames.CodeBadRequest, Wait: r.To.Sub(now),
			Text: fmt.Sprintf("the range ends in the future, at %v: it may end %v from now at most", r.To, mostAhead),
		}
	}
	s, err := p.lookBackThrough(r.Stream, r.Interval, r.From, r.To, source.ForRequest, from.of)
	if err != nil {
		return pipeline.Stream{}, err
	}
	var names []string
	for _, route := range s.Routes {
		names = append(names, route.Output.Name)
	}
	i := slices.Index(names, r.Output)
	if i < 0 {
		return pipeline.Stream{}, fmt.Errorf("%w output %q of stream %s: there is %v", pipeline.ErrUnknown, r.Output, r.Stream, names)
	}
	s.Routes = s.Routes[i : i+1]
	s.From, s.To = s.Grid.Ceil(s.From), s.Grid.Ceil(s.To)
	if s.From >= s.To || s.Grid.Count(s.From, s.To) > math.MaxInt32 {
		return pipeline.Stream{}, &frames.Error{
			Code: frames.CodeBadRequest,
			Text: fmt.Sprintf("the range from %v to %v has no slot of the interval %v", r.From, r.To, s.Grid.Interval()),
		}
	}
	return s, nil
}

// spentError gives an error of a reservation the code of the answer.
func spentError(err error) error {
	e := &frames.Error{Code: frames.CodeTooLarge, Text: err.Error()}
	var wait *ondemand.WaitError
	if errors.As(err, &wait) {
		e.Code, e.Wait = frames.CodeBusy, wait.Wait
	}
	return fmt.Errorf("%w: %w", frames.ErrImages, e)
}

// A payer pays for what a feed asks for, and stops it when there is nothing left.
type payer struct {
	reservation *ondemand.Reservation
	stop        context.CancelCauseFunc
}

// of returns a fetcher that pays.
func (p *payer) of(f poll.Fetcher) poll.Fetcher { return paying{f, p} }

type paying struct {
	poll.Fetcher
	payer *payer
}

// Images implements [poll.Fetcher].
func (f paying) Images(ctx context.Context, w poll.Window) iter.Seq2[poll.Image, error] {
	if err := f.payer.reservation.Spend(w.Slots()); err != nil {
		f.payer.stop(err)
		return func(yield func(poll.Image, error) bool) { yield(poll.Image{}, err) }
	}
	return f.Fetcher.Images(ctx, w)
}

// Unwrap returns the fetcher that is paid for, which may be able to do more.
func (f paying) Unwrap() poll.Fetcher { return f.Fetcher }
