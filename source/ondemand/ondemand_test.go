package ondemand_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/ondemand"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

func TestFeed(t *testing.T) {
	sourcetest.TestFeed(t, func(_ *testing.T, s sourcetest.Stream) source.OpenFeed {
		return func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
			feed := sourcetest.Open(s, l, fetched)
			return ondemand.New(ondemand.Options{}).Remember(feed, feed)
		}
	})
}

// A camera takes a second for a frame, which costs two images.
type camera struct {
	source.Feed
	frames *ondemand.Frames
	size   int
	err    error

	mu      sync.Mutex
	fetched map[source.Slot]int
}

func (c *camera) Frame(ctx context.Context, s source.Slot) (source.Frame, error) {
	if err := c.frames.Spend(2); err != nil {
		return source.Frame{}, err
	}
	c.mu.Lock()
	c.fetched[s]++
	c.mu.Unlock()
	select {
	case <-ctx.Done():
		return source.Frame{}, ctx.Err()
	case <-time.After(time.Second):
	}
	if c.err != nil {
		return source.Frame{}, c.err
	}
	return source.Frame{Slot: s, Data: make([]byte, c.size), Recycle: func() { panic("the frame is shared") }}, nil
}

func newCamera(o ondemand.Options) (*camera, source.Feed) {
	c := &camera{frames: ondemand.New(o), size: 100, fetched: map[source.Slot]int{}}
	return c, c.frames.Remember(c, c)
}

// ask asks for a frame, and returns where it came from.
func ask(ctx context.Context, feed source.Feed, s source.Slot) (ondemand.Origin, error) {
	ctx, origin := ondemand.Watch(ctx)
	f, err := feed.Frame(ctx, s)
	if err == nil && (f.Slot != s || f.Recycle != nil) {
		err = fmt.Errorf("got %+v", f)
	}
	return origin(), err
}

// TestLoopsAskForOneSlot: 64 askers that ask for one slot again and again for a minute
// have it fetched once.
func TestLoopsAskForOneSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, feed := newCamera(ondemand.Options{ImagesPerDay: 10})
		origins := map[ondemand.Origin]int{}
		var mu sync.Mutex
		var loops sync.WaitGroup
		for range 64 {
			loops.Go(func() {
				for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(100 * time.Millisecond) {
					origin, err := ask(t.Context(), feed, 1000)
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					origins[origin]++
					mu.Unlock()
				}
			})
		}
		loops.Wait()
		if c.fetched[1000] != 1 || origins[ondemand.Made] != 1 || origins[ondemand.Shared] != 63 || origins[ondemand.Cached] < 64*500 {
			t.Errorf("fetched %d times; %v", c.fetched[1000], origins)
		}
		time.Sleep(time.Minute)
		if origin, err := ask(t.Context(), feed, 1000); origin != ondemand.Made || err != nil {
			t.Errorf("after a minute: %q, %v", origin, err)
		}
	})
}

// TestFailuresAreShared, but only for two seconds: media may turn up.
func TestFailuresAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, feed := newCamera(ondemand.Options{ImagesPerDay: 10})
		c.err = source.ErrNoMedia
		for i, want := range []ondemand.Origin{ondemand.Made, ondemand.Cached, ondemand.Cached, ondemand.Made} {
			if origin, err := ask(t.Context(), feed, 1000); origin != want || !errors.Is(err, source.ErrNoMedia) {
				t.Errorf("%d: %q, %v", i, origin, err)
			}
			time.Sleep(999 * time.Millisecond)
		}
	})
}

// TestAskerThatGivesUp: who waited for the same frame fetches it instead.
func TestAskerThatGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, feed := newCamera(ondemand.Options{ImagesPerDay: 10})
		hasty, cancel := context.WithCancel(t.Context())
		var asks sync.WaitGroup
		asks.Go(func() {
			if origin, err := ask(hasty, feed, 1000); origin != ondemand.Made || !errors.Is(err, context.Canceled) {
				t.Errorf("the hasty one: %q, %v", origin, err)
			}
		})
		synctest.Wait()
		asks.Go(func() {
			if origin, err := ask(t.Context(), feed, 1000); origin != ondemand.Made || err != nil {
				t.Errorf("the patient one: %q, %v", origin, err)
			}
		})
		short, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer stop()
		if origin, err := ask(short, feed, 1000); origin != ondemand.Shared || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the one with a deadline: %q, %v", origin, err)
		}
		cancel()
		asks.Wait()
		if c.fetched[1000] != 2 {
			t.Errorf("fetched %d times", c.fetched[1000])
		}
	})
}

// TestBytesAreBounded: the frames that came first are forgotten first, those that are
// larger than the bound at once.
func TestBytesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, feed := newCamera(ondemand.Options{ImagesPerDay: 1000, Bytes: 64 << 10})
		c.size = 20 << 10
		for _, step := range []struct {
			slot source.Slot
			want ondemand.Origin
		}{
			{1, ondemand.Made},
			{2, ondemand.Made},
			{3, ondemand.Made},
			{1, ondemand.Cached},
			{4, ondemand.Made},
			{1, ondemand.Made},
			{3, ondemand.Cached},
			{2, ondemand.Made},
		} {
			if origin, err := ask(t.Context(), feed, step.slot); origin != step.want || err != nil {
				t.Errorf("%v: %q, %v; want %q", step.slot, origin, err, step.want)
			}
		}
		c.size = 64 << 10
		for range 2 {
			if origin, err := ask(t.Context(), feed, 5); origin != ondemand.Made || err != nil {
				t.Errorf("large: %q, %v", origin, err)
			}
		}
	})
}

// TestImagesOfADay: no more are fetched, and the error tells until when. What is cached is
// still there, and the next day there are as many again.
func TestImagesOfADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, feed := newCamera(ondemand.Options{ImagesPerDay: 5})
		for s := range source.Slot(2) {
			if _, err := ask(t.Context(), feed, s); err != nil {
				t.Error(err)
			}
		}
		_, err := ask(t.Context(), feed, 2)
		if !errors.Is(err, ondemand.ErrSpent) || !strings.Contains(err.Error(), "5 (requests.images_per_day): ask again in 23h59m58s, at 2000-01-02T00:00:00Z") {
			t.Errorf("got %v", err)
		}
		if origin, err := ask(t.Context(), feed, 1); origin != ondemand.Cached || err != nil {
			t.Errorf("cached: %q, %v", origin, err)
		}
		time.Sleep(24*time.Hour - 2*time.Second)
		if origin, err := ask(t.Context(), feed, 2); origin != ondemand.Made || err != nil {
			t.Errorf("the next day: %q, %v", origin, err)
		}
		if len(c.fetched) != 3 {
			t.Errorf("fetched %v", c.fetched)
		}
	})
}

// TestStreamsAreApart: feeds share frames only if they are of the same stream.
func TestStreamsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, feed := newCamera(ondemand.Options{ImagesPerDay: 100})
		other := &camera{frames: c.frames, fetched: map[source.Slot]int{}}
		for _, step := range []struct {
			feed source.Feed
			want ondemand.Origin
		}{
			{feed, ondemand.Made},
			{c.frames.Remember(other, other), ondemand.Made},
			{c.frames.Remember(c, c), ondemand.Cached},
			{c.frames.Remember(other, other), ondemand.Cached},
		} {
			if origin, err := ask(t.Context(), step.feed, 1000); origin != step.want || err != nil {
				t.Errorf("%q, %v; want %q", origin, err, step.want)
			}
		}
	})
}
