package feeder

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/source"
)

// endless yields frames without end, and counts them.
type endless struct {
	source.Feed
	yielded, recycled int
}

func (e *endless) Frames(context.Context) iter.Seq2[source.Frame, error] {
	return func(yield func(source.Frame, error) bool) {
		for yield(source.Frame{Recycle: func() { e.recycled++ }}, nil) {
			e.yielded++
		}
	}
}

// TestRefusedRange: a range ends when the credentials are refused, and goes on after other errors.
func TestRefusedRange(t *testing.T) {
	ctx, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	told := 0
	var answered func(time.Duration, error)
	open := unlessRefused(func(_ *source.Ledger, fetched func(time.Duration, error)) source.Feed {
		answered = fetched
		return nil
	}, stop)
	open(nil, func(time.Duration, error) { told++ })
	for _, err := range []error{nil, errors.New("throttled")} {
		if answered(0, err); ctx.Err() != nil {
			t.Errorf("it ends after %v", err)
		}
	}
	answered(0, fmt.Errorf("expired: %w", source.ErrRefused))
	if !errors.Is(context.Cause(ctx), source.ErrRefused) || told != 3 {
		t.Errorf("the cause is %v; %d requests were told of", context.Cause(ctx), told)
	}
}

// TestValve: while a reader has room for three, no more than three frames are let through, and
// the next one as soon as one of them has ended; the last one is given back when nobody wants it.
func TestValve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		v := newValve(func(ctx context.Context, ahead func() int, freed <-chan struct{}) error {
			for ahead() >= 3 {
				select {
				case <-freed:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
		feed := &endless{}
		behind := v.of(func(*source.Ledger, func(time.Duration, error)) source.Feed { return feed })(nil, nil)
		var passed []pipeline.FrameObserver
		var reading sync.WaitGroup
		reading.Go(func() {
			for frame, err := range behind.Frames(ctx) {
				if err != nil {
					t.Error(err)
				}
				passed = append(passed, v.Stream(pipeline.Stream{}, 0).Frame(frame, false))
			}
		})
		synctest.Wait()
		if len(passed) != 3 || feed.yielded != 3 {
			t.Errorf("%d frames have passed, %d were yielded", len(passed), feed.yielded)
		}
		for i, f := range passed {
			f.Ended(source.Published, nil)
			synctest.Wait()
			if len(passed) != 4+i {
				t.Errorf("%d frames have passed after %d have ended", len(passed), i+1)
			}
		}
		cancel()
		reading.Wait()
		if feed.recycled != 1 {
			t.Errorf("%d frames were given back", feed.recycled)
		}
	})
}
