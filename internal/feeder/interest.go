package feeder

import (
	"context"
	"errors"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/publish"
)

// interestWait limits the questions about all outputs of a stream.
const interestWait = 3 * time.Second

// An interest finds out whether anybody listens to a stream.
type interest struct {
	delivery publish.Delivery
	// unknown is told why that cannot be found out.
	unknown func(error)
}

// A wantedFunc tells whether anybody wants the frames of a stream at present, and whether that
// is known. It is not safe for concurrent use.
type wantedFunc = func(context.Context) (wanted, known bool)

// wanted returns that of a stream, nil for one that is always read.
func (i interest) wanted(c config.Stream, s pipeline.Stream, now func() time.Time) wantedFunc {
	listened := i.polled(c, s)
	if c.Active == "" {
		return listened
	}
	open := c.Active.Open()
	return func(ctx context.Context) (wanted, known bool) {
		switch {
		case !open.At(now()):
			return false, true
		case listened == nil:
			return true, true
		}
		return listened(ctx)
	}
}

// polled is wanted at any time of the week.
func (i interest) polled(c config.Stream, s pipeline.Stream) wantedFunc {
	switch c.Poll {
	case config.PollSubscribed:
		a := audience{interest: i, routes: s.Routes}
		return a.now
	case config.PollRequest:
		return func(context.Context) (wanted, known bool) { return false, true }
	default:
		return nil
	}
}

// doubts is how many questions in a row NATS has to leave open until it is taken to be unable
// to answer: while interest spreads among servers, one of them may be silent.
const doubts = 3

// An audience is those who listen to a stream.
type audience struct {
	interest
	routes []publish.Route
	open   int // questions in a row that NATS has not answered
}

// now tells whether anybody listens to one of the routes. Without a connection to NATS that is
// not known; if NATS cannot tell, somebody may, so that no frame is missed in silence.
func (a *audience) now(ctx context.Context) (some, known bool) {
	ctx, cancel := context.WithTimeout(ctx, interestWait)
	defer cancel()
	some, err := a.ask(ctx)
	var drop *publish.DropError
	switch {
	case err == nil:
		a.open = 0
		return some, true
	case errors.As(err, &drop):
		return false, false
	}
	if a.open++; a.open < doubts {
		return false, false
	}
	a.unknown(err)
	return true, true
}

func (a *audience) ask(ctx context.Context) (some bool, err error) {
	for _, r := range a.routes {
		if some, err = a.delivery.Interest(ctx, r.Subject); some || err != nil {
			break
		}
	}
	return some, err
}

// unknownInterest takes note of why it is not known whether anybody listens.
func (t *troubles) unknownInterest(err error) {
	if errors.Is(err, context.Canceled) { // the stream ends
		return
	}
	t.add(health.InterestUnknown, err)
}
