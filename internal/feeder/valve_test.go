package feeder

import (
	"context"
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
