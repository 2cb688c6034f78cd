package sourcetest

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/source"
)

// A Feed is a [source.Feed] in memory. The picture of a slot is there from the slot's
// instant on, so testing/synctest drives it. All fields but To and Now are required.
type Feed struct {
	Ledger *source.Ledger
	Stream string
	To     source.Slot // unless 0, the first slot that is not read
	// Picture returns the picture of a slot. An error that wraps [source.ErrNoMedia]
	// says that there is none, any other that the request failed. It may be called
	// concurrently.
	Picture func(source.Slot) ([]byte, error)
	Fetched func(took time.Duration, err error) // called after each request of Frames
	Now     func() time.Time                    // the clock of the slots; nil for the host's
}

// Open returns the feed of a stream that a suite describes. Each picture says which slot it is
// of.
func Open(s Stream, l *source.Ledger, fetched func(time.Duration, error)) *Feed {
	return &Feed{Stream: s.Name, Ledger: l, To: s.To, Fetched: fetched, Picture: func(slot source.Slot) ([]byte, error) {
		switch {
		case s.Failing():
			return nil, errors.New("connection reset")
		case s.Missing(slot):
			return nil, source.ErrNoMedia
		}
		return []byte(slot.String()), nil
	}}
}

func (f *Feed) now() time.Time {
	if f.Now == nil {
		return time.Now()
	}
	return f.Now()
}

// Frames implements [source.Feed].
func (f *Feed) Frames(ctx context.Context) iter.Seq2[source.Frame, error] {
	return func(yield func(source.Frame, error) bool) {
		s, retry := f.Ledger.Stats().Cursor, pacing.Backoff{Min: time.Second, Max: 15 * time.Second}
		for (f.To == 0 || s < f.To) && pacing.Sleep(ctx, s.Time().Sub(f.now())) == nil {
			f.Ledger.Extend(s + 1)
			frame, err := f.Frame(ctx, s)
			if ctx.Err() != nil {
				return
			}
			if errors.Is(err, source.ErrNoMedia) {
				f.Ledger.GiveUp(s, source.NoMedia)
				err = nil
			}
			f.Fetched(0, err)
			if (err != nil || f.Ledger.Take(s)) && !yield(frame, err) {
				return
			}
			if err != nil {
				_ = pacing.Sleep(ctx, retry.Next()) // the end of ctx is noticed above
				continue
			}
			retry.Reset()
			s = f.Ledger.Grid().Step(s, 1)
		}
	}
}

// Frame implements [source.Feed].
func (f *Feed) Frame(ctx context.Context, s source.Slot) (source.Frame, error) {
	if ctx.Err() != nil || s.Time().After(f.now()) {
		return source.Frame{}, cmp.Or(ctx.Err(), source.ErrNoMedia)
	}
	data, err := f.Picture(s)
	if err != nil {
		return source.Frame{}, err
	}
	return source.Frame{Stream: f.Stream, Slot: s, Capture: s.Time(), Data: data}, nil
}

// State implements [source.Feed]: nothing is held back.
func (f *Feed) State() source.FeedState { return source.FeedState{} }
