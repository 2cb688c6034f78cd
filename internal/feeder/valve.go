package feeder

import (
	"context"
	"iter"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/source"
)

// A valve lets the frames of a feed through only while whoever gets their tensors has room. So
// what a slow one has not read yet holds nothing of the budget that all streams share: a frame
// waits in the feed, which asks for nothing meanwhile.
type valve struct {
	pipeline.IgnoreStream
	// room waits until there is room for a frame more than ahead returns. It looks again when
	// freed has a value.
	room  func(ctx context.Context, ahead func() int, freed <-chan struct{}) error
	ahead atomic.Int64  // frames that have passed and are not delivered yet
	freed chan struct{} // has a value when there are fewer
}

func newValve(room func(context.Context, func() int, <-chan struct{}) error) *valve {
	return &valve{room: room, freed: make(chan struct{}, 1)}
}

// Stream implements [pipeline.Observer].
func (v *valve) Stream(pipeline.Stream, source.Slot) pipeline.StreamObserver { return v }

// Frame implements [pipeline.StreamObserver].
func (v *valve) Frame(source.Frame, bool) pipeline.FrameObserver { return passed{valve: v} }

// passed is a frame that has passed.
type passed struct {
	pipeline.IgnoreFrame
	valve *valve
}

// Ended implements [pipeline.FrameObserver].
func (f passed) Ended(source.Outcome, error) {
	f.valve.ahead.Add(-1)
	select {
	case f.valve.freed <- struct{}{}:
	default:
	}
}

// of returns what opens a feed behind the valve.
func (v *valve) of(open source.OpenFeed) source.OpenFeed {
	return func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
		return valvedFeed{open(l, fetched), v}
	}
}

type valvedFeed struct {
	source.Feed
	valve *valve
}

// Frames implements [source.Feed].
func (f valvedFeed) Frames(ctx context.Context) iter.Seq2[source.Frame, error] {
	return func(yield func(source.Frame, error) bool) {
		for frame, err := range f.Feed.Frames(ctx) {
			if err == nil {
				if f.valve.room(ctx, func() int { return int(f.valve.ahead.Load()) }, f.valve.freed) != nil {
					if frame.Recycle != nil {
						frame.Recycle()
					}
					return // ctx has ended, or nobody wants the rest
				}
				f.valve.ahead.Add(1)
			}
			if !yield(frame, err) {
				return
			}
		}
	}
}
