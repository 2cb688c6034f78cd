package poll

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A paged camera answers in pages of few images, one after the other, three times as fast as
// its media comes.
type paged struct {
	camera
	page  int
	down  [][2]source.Slot // when no page comes
	slow  [2]source.Slot   // when pages come half as fast
	fails float64          // how many of the pages but the first are refused
	rng   *rand.Rand
	pages int
	most  int // the most images of a window
}

func (c *paged) PageSlots() int { return c.page }

func (c *paged) Images(_ context.Context, w Window) iter.Seq2[Image, error] {
	return func(yield func(Image, error) bool) {
		c.requests++
		c.most = max(c.most, w.Slots())
		for s := w.Start; s <= w.End; s = s.Add(time.Duration(c.page) * w.Interval) {
			page := Window{Start: s, End: min(s.Add(time.Duration(c.page-1)*w.Interval), w.End), Interval: w.Interval}
			pace := time.Duration(page.Slots()) * step / 3
			if now := source.SlotAt(time.Now()); now >= c.slow[0] && now < c.slow[1] {
				pace *= 2
			}
			time.Sleep(pace)
			now := source.SlotAt(time.Now())
			c.pages++
			down := slices.ContainsFunc(c.down, func(d [2]source.Slot) bool { return now >= d[0] && now < d[1] })
			if down || s > w.Start && c.rng.Float64() < c.fails {
				yield(Image{}, errors.New("connection reset"))
				return
			}
			if now >= c.countFrom {
				c.asked += page.Slots()
			}
			for s := page.Start; s <= page.End; s = s.Add(w.Interval) {
				img := Image{Time: s.Time(), Err: source.ErrNoMedia}
				if c.visible(s, w.Start, now) {
					img.Err, img.Data = nil, fmt.Append(nil, s)
				}
				if !yield(img, nil) {
					return
				}
			}
		}
	}
}

// TestCatchesUp has pages of any size, fragments of any length, a service that is away and
// slow for some minutes, and a scheduler that is late. As pages come three times as fast as
// media, the poller is at the live edge again soon after, and stays there.
func TestCatchesUp(t *testing.T) {
	pages, fragments := []int{1, 2, 3, 4, 7, 12, PageSlots}, []int{1, 2, 3, 5, 7, 10, 14, 20}
	if testing.Short() {
		pages, fragments = []int{1, 4, PageSlots}, []int{2, 7, 20}
	}
	for _, page := range pages {
		for _, fragment := range fragments {
			t.Run(fmt.Sprintf("%d a page, %ds", page, fragment), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					catchUp(t, &paged{camera: camera{fragment: time.Duration(fragment) * time.Second}, page: page})
				})
			})
		}
	}
}

// TestCatchesUpThoughPagesFail: after a page that failed the next window overlaps what has
// arrived by a fragment, which is long where pages are small.
func TestCatchesUpThoughPagesFail(t *testing.T) {
	for _, page := range []int{4, 7, 12, PageSlots} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%d a page, seed %d", page, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					catchUp(t, &paged{
						camera: camera{fragment: 7 * time.Second},
						page:   page, fails: 0.01, rng: rand.New(rand.NewPCG(seed, 0)),
					})
				})
			})
		}
	}
}

func catchUp(t *testing.T, c *paged) {
	t.Helper()
	const length, settled = 13 * time.Minute, 10 * time.Minute
	begin := source.SlotAt(time.Now())
	at := func(minutes float64) source.Slot { return begin.Add(time.Duration(minutes * float64(time.Minute))) }
	if c.rng == nil {
		c.rng = rand.New(rand.NewPCG(1, 2))
	}
	c.delay = always(1500 * time.Millisecond)
	c.down, c.slow = [][2]source.Slot{{at(1), at(2)}, {at(3), at(3.5)}}, [2]source.Slot{at(4), at(5)}
	c.countFrom = begin.Add(settled)
	opts := auto()
	opts.Sleep = func(_ context.Context, d time.Duration) error {
		time.Sleep(d + time.Duration(c.rng.Int64N(int64(time.Second))))
		return nil
	}
	l, p, slots, ages := pollFor(t, c, 0, length, opts)
	oldest := time.Duration(0)
	for i, s := range slots {
		if s >= begin.Add(settled) {
			oldest = max(oldest, ages[i])
		}
	}
	cost := float64(c.asked) / float64((length-settled)/step)
	t.Logf("at last %v old, %d windows, of %d images at most, %.2f images a slot, overlap %v, %+v", oldest, c.requests, c.most, cost, p.State().Overlap, l.Stats().Ended[source.Published])
	if got := l.Stats().Ended[source.Published]; got != uint64(length/step) {
		t.Errorf("%d of %d slots arrived", got, length/step)
	}
	if c.most > 5*int(max(MaxFragment, 2*c.fragment)/step)/2+2 || c.requests > int(length/time.Second) {
		t.Errorf("%d windows, of %d images at most", c.requests, c.most)
	}
	limit := 3*c.fragment + 25*time.Second
	if c.fragment >= MaxFragment {
		limit = 6 * time.Minute // a window of images takes as long as a third of a fragment
	}
	if oldest > limit {
		t.Errorf("in the end frames were %v old, want at most %v", oldest, limit)
	}
}
