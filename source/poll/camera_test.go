package poll

import (
	"context"
	"errors"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A trailing is a camera whose clock is behind the service's. Fragments cannot be listed.
type trailing struct {
	camera
	behind time.Duration
	empty  int // how many of the first answers by the service's clock have no media
	looks  int // requests by the service's clock
}

func (c *trailing) Producer() bool { return true }

func (c *trailing) Trail(context.Context, source.Slot, source.Slot) (time.Duration, bool, error) {
	return 0, false, source.ErrRefused
}

func (c *trailing) Received() Fetcher { return (*receivedTrailing)(c) }

func (c *trailing) Images(ctx context.Context, w Window) iter.Seq2[Image, error] {
	w.Start, w.End = w.Start.Add(c.behind), w.End.Add(c.behind)
	return func(yield func(Image, error) bool) {
		for img, err := range c.camera.Images(ctx, w) {
			img.Time = img.Time.Add(-c.behind)
			if !yield(img, err) {
				return
			}
		}
	}
}

type receivedTrailing trailing

func (c *receivedTrailing) Images(ctx context.Context, w Window) iter.Seq2[Image, error] {
	if c.looks++; c.looks <= c.empty {
		return func(yield func(Image, error) bool) { yield(Image{}, ErrEmptyWindow) }
	}
	return c.camera.Images(ctx, w)
}

// pollTrailing polls a camera from its present on for five minutes, and returns how many
// slots ended without a picture. The service's time is in doubt until it has answered so
// often.
func pollTrailing(t *testing.T, c *trailing, doubtful int) (lost uint64) {
	t.Helper()
	start := source.SlotAt(time.Now().Add(-c.behind))
	l := source.NewLedger(testGrid(t), start)
	opts := auto()
	opts.To = start.Add(5 * time.Minute)
	opts.Unsure = func() bool { return c.requests < doubtful }
	pauses := 0
	opts.Sleep = func(_ context.Context, d time.Duration) error {
		if pauses++; pauses > 10_000 {
			return errors.New("the poller runs in circles")
		}
		time.Sleep(d)
		return nil
	}
	for f, err := range New(c, l, opts).Frames(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		l.Resolve(f.Slot, source.Published)
	}
	st := l.Stats()
	if st.Pending != 0 || st.Expected != uint64(5*time.Minute/step) {
		t.Errorf("%d slots expected, %d pending", st.Expected, st.Pending)
	}
	return st.Ended[source.NoMedia]
}

// TestSingleAnswersWithoutMedia looks for the clock of a camera that is on, and the first
// answers say that the service receives nothing: that is not believed.
func TestSingleAnswersWithoutMedia(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &trailing{camera: camera{fragment: 2 * time.Second, delay: always(time.Second)}, behind: 47 * time.Minute, empty: 2}
		if lost := pollTrailing(t, c, 0); lost > 0 {
			t.Errorf("%d slots were lost", lost)
		}
	})
}

// TestDoubtfulTimeAtTheStart begins while the service's time is in doubt: only its answers
// clear that up, so it has to be asked.
func TestDoubtfulTimeAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &trailing{camera: camera{fragment: 2 * time.Second, delay: always(time.Second)}, behind: 47 * time.Minute}
		if lost := pollTrailing(t, c, 4); lost > 0 {
			t.Errorf("%d slots were lost", lost)
		}
	})
}

// TestHiddenPartsAreNotSlow: windows that begin amid fragments have only the rest of each.
// That does not make a camera slow, of which the slots between pictures would end at once.
func TestHiddenPartsAreNotSlow(t *testing.T) {
	const interval = 200 * time.Millisecond
	c := cadence{interval: interval}
	for fragment := range source.Slot(4) {
		for i := range source.Slot(5) {
			c.add(fragment*2000 + 1000 + i*200)
		}
		c.advance(fragment*2000, fragment*2000+1800)
	}
	if d, ok := c.hidden(); ok {
		t.Errorf("pictures closer together than %v have no others between them", d)
	}
}
