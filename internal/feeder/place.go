package feeder

import (
	"context"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
)

const (
	// learnTime bounds the wait for the service's time at the start. If that is over, the
	// host's clock is used until there is an answer.
	learnTime = 5 * time.Second
	// moreAnswers is how many more answers are asked for, at most, so that the service's
	// time is certain before a stream begins, and learnAgain the time between them.
	moreAnswers = 3
	learnAgain  = 200 * time.Millisecond
	// samePlace is how far a stream that begins now may be from where it should: the
	// service's time becomes more exact with each answer.
	samePlace = 5 * time.Second
)

// learnTime asks the service something before any stream is made, because each answer tells
// the time. Whether it is an error is of no interest here: the streams will tell.
func (b *builder) learnTime(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, learnTime)
	defer cancel()
	for _, c := range b.plan.Config.Streams {
		if c.Prefix == "" {
			_, _ = b.service.Stream(ClientOptions(c, nil)).DataEndpoint(ctx)
			return
		}
	}
}

// place checks that a stream can be read, and puts its ledger to the right place by the
// service's time, which may not have been known before: a stream that begins now is put to
// the time at which it was made, and one whose cursor is in the future to the present, or to
// the end of what is known to have been published.
func (b *builder) place(ctx context.Context, client *kinesis.Stream, s pipeline.Stream, made time.Time, l *source.Ledger) error {
	err := client.Check(ctx)
	for more := moreAnswers; err == nil && more > 0 && !b.service.TimeKnown(); more-- {
		if err = pacing.Sleep(ctx, learnAgain); err == nil {
			err = client.Check(ctx)
		}
	}
	if err != nil || s.Backfill {
		return err
	}
	start := l.Stats().Start
	switch {
	case start == s.Grid.Ceil(s.From):
		if now := source.SlotAt(b.service.At(made)); now.Sub(start).Abs() > samePlace {
			start = now
		}
	case b.service.Future(start.Time()) && !client.Producer(): // a camera's clock may be ahead
		start = source.SlotAt(b.service.Now())
		if b.last == nil {
			break
		}
		last, some, err := b.last(ctx, s)
		if err != nil {
			return err
		}
		if some {
			start = min(start, s.Grid.Ceil(last+1))
		}
	default:
		return nil
	}
	l.Begin(start)
	return nil
}
