package poll

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

// copied answers each request with a camera of its own, as a camera is for one goroutine.
type copied struct{ camera }

func (c copied) Images(ctx context.Context, w Window) iter.Seq2[Image, error] {
	return func(yield func(Image, error) bool) {
		if ctx.Err() != nil {
			yield(Image{}, ctx.Err())
			return
		}
		c.camera.Images(ctx, w)(yield)
	}
}

// TestFeed runs the suite of all feeds, also with somebody who wants the frames from the
// beginning.
func TestFeed(t *testing.T) {
	for name, wanted := range map[string]func(context.Context) (wanted, known bool){
		"always": nil,
		"wanted": func(context.Context) (wanted, known bool) { return true, true },
	} {
		t.Run(name, func(t *testing.T) { testFeed(t, wanted) })
	}
}

func testFeed(t *testing.T, wanted func(context.Context) (wanted, known bool)) {
	sourcetest.TestFeed(t, func(_ *testing.T, s sourcetest.Stream) source.OpenFeed {
		c := copied{camera{
			fragment: 2 * time.Second, delay: always(time.Second),
			media: func(slot source.Slot) bool { return !s.Missing(slot) },
			fail: func(int) error {
				if s.Failing() {
					return errors.New("connection reset")
				}
				return nil
			},
		}}
		return func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
			return New(c, l, Options{Stream: s.Name, Lag: Auto, Overlap: Auto, To: s.To, Fetched: fetched, Wanted: wanted})
		}
	})
}
