package poll

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A listingCamera tells which fragments it has.
type listingCamera struct {
	camera
	refuse func(n int) error // what the n-th listing fails with

	listings int
}

func (c *listingCamera) Fragments(_ context.Context, from, to source.Slot) ([]Span, error) {
	c.listings++
	if c.refuse != nil {
		if err := c.refuse(c.listings); err != nil {
			return nil, err
		}
	}
	now := source.SlotAt(time.Now())
	var spans []Span
	for span := c.span(from); span.Start <= to && span.End < now; span = c.span(span.End) {
		if c.visible(span.Start, span.Start, now) {
			spans = append(spans, span)
		}
	}
	return spans, nil
}

// varying returns a camera with fragments of 1 s to 7 s, off the grid, within two hours
// around now.
func varying(seed uint64) camera {
	rng := rand.New(rand.NewPCG(seed, 0))
	c := camera{delay: always(1500 * time.Millisecond)}
	for at := source.SlotAt(time.Now().Add(-90 * time.Minute)); at < source.SlotAt(time.Now().Add(30*time.Minute)); {
		end := at + 1000 + source.Slot(rng.IntN(6001))
		c.spans = append(c.spans, Span{at, end})
		at = end
	}
	return c
}

func TestPollerLists(t *testing.T) {
	for _, tc := range []struct {
		name   string
		from   time.Duration
		length time.Duration // 10 minutes where 0
		change func(*listingCamera)
		cost   float64 // images asked for each published, at most
		lost   bool    // some slots have no media
	}{
		{name: "live", cost: 1.5},
		{name: "an hour behind", from: -time.Hour, length: 59 * time.Minute, cost: 1.3},
		{name: "steady", cost: 1.5, change: func(c *listingCamera) { c.camera = camera{fragment: 2 * time.Second, delay: c.delay} }},
		{name: "late fragments", cost: 1.7, change: func(c *listingCamera) {
			c.delay = func(start source.Slot) time.Duration { return time.Second + time.Duration(start%4)*time.Second }
		}},
		{name: "fragments that never come", cost: 3, lost: true, change: func(c *listingCamera) {
			c.media = func(s source.Slot) bool { return c.span(s).Start%10 != 0 }
		}},
		{name: "fragments without images", cost: 10.5, lost: true, change: func(c *listingCamera) {
			// The first image of each is enough to list it.
			c.media = func(s source.Slot) bool { span := c.span(s); return span.Start%10 != 0 || s == span.Start }
		}},
		{name: "slow answers", cost: 1.5, change: func(c *listingCamera) { c.latency = time.Second }},
		{name: "failing answers", cost: 2.2, change: func(c *listingCamera) { c.fail = everyThird }},
		{name: "listing fails for two minutes", cost: 4.5, change: func(c *listingCamera) {
			begin := time.Now()
			c.refuse = func(int) error {
				if since := time.Since(begin); since > 2*time.Minute && since < 4*time.Minute {
					return errors.New("connection reset")
				}
				return nil
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for seed := range uint64(3) {
				synctest.Test(t, func(t *testing.T) {
					c := &listingCamera{camera: varying(seed)}
					if tc.change != nil {
						tc.change(c)
					}
					opts := auto()
					opts.Grace = 20 * time.Second
					begin, length := time.Now(), cmp.Or(tc.length, 10*time.Minute)
					l, p, slots, ages := pollFor(t, c, tc.from, length, opts)
					want := 0
					for s := l.Stats().Start; s < l.End(); s = l.Grid().Step(s, 1) {
						if c.media == nil || c.media(s) {
							want++
						}
					}
					if got := int(l.Stats().Ended[source.Published]); got != want || tc.lost != (want < int(length/step)) {
						t.Errorf("seed %d: %d of %d published: %+v", seed, got, want, l.Stats())
					}
					cost := float64(c.asked) / float64(len(slots))
					t.Logf("%.2f images asked for each, %d listings, %d requests, lag %v, youngest %v", cost, c.listings, c.requests, p.State().Lag, slices.Min(ages))
					if cost > tc.cost {
						t.Errorf("seed %d: %.2f images asked for each published, want at most %.2f", seed, cost, tc.cost)
					}
					if d := time.Since(begin); tc.from != 0 && d > time.Second {
						t.Errorf("waited %v, though all was there", d)
					}
				})
			}
		})
	}
}

// TestPollerWithoutListing compares a poller that is not permitted to list fragments with one
// whose fetcher cannot.
func TestPollerWithoutListing(t *testing.T) {
	var asked, requests [2]int
	for i := range 2 {
		synctest.Test(t, func(t *testing.T) {
			c := &listingCamera{camera: varying(1), refuse: func(int) error { return source.ErrRefused }}
			var fetch Fetcher = c
			if i == 1 {
				fetch = &c.camera
			}
			l, _, _, _ := pollFor(t, fetch, 0, 10*time.Minute, auto())
			if got := l.Stats().Ended[source.Published]; got != 3000 {
				t.Errorf("%d of 3000 published", got)
			}
			if c.listings != 1-i {
				t.Errorf("%d listings", c.listings)
			}
			asked[i], requests[i] = c.asked, c.requests
		})
	}
	if asked[0] != asked[1] || requests[0] != requests[1] {
		t.Errorf("asked for %v images by %v requests", asked, requests)
	}
	t.Logf("%.2f images asked for each", float64(asked[0])/3000)
}

func TestPlanListed(t *testing.T) {
	const sec = source.Slot(1000)
	for _, tc := range []struct {
		name  string
		ended [][2]source.Slot // from, to (exclusive)
		spans []Span
		to    source.Slot
		want  [][2]source.Slot
	}{
		{name: "nothing listed", to: 60 * sec},
		{name: "one fragment", spans: []Span{{2 * sec, 4 * sec}}, to: 60 * sec, want: [][2]source.Slot{{2 * sec, 4*sec - 200}}},
		{
			name: "off the grid, it begins a slot before", spans: []Span{{2*sec + 50, 4*sec + 50}}, to: 60 * sec,
			want: [][2]source.Slot{{2 * sec, 4 * sec}},
		},
		{
			name: "a page full of fragments", spans: []Span{{0, 2 * sec}, {2 * sec, 4 * sec}, {4 * sec, 6 * sec}}, to: 60 * sec,
			want: [][2]source.Slot{{0, 4*sec - 200}, {4 * sec, 6*sec - 200}},
		},
		{
			name: "a hole between fragments", spans: []Span{{0, sec}, {3 * sec, 4*sec + 1}}, to: 60 * sec,
			want: [][2]source.Slot{{-200, 800}, {3 * sec, 4 * sec}},
		},
		{name: "a long fragment", spans: []Span{{0, 12 * sec}}, to: 60 * sec, want: [][2]source.Slot{{0, 12*sec - 200}}},
		{
			name: "what has ended is not asked for", ended: [][2]source.Slot{{0, 4 * sec}}, to: 60 * sec,
			spans: []Span{{0, 3 * sec}, {3 * sec, 5 * sec}}, want: [][2]source.Slot{{3 * sec, 5*sec - 200}},
		},
		{name: "not beyond the end", spans: []Span{{2 * sec, 8 * sec}}, to: 5 * sec, want: [][2]source.Slot{{2 * sec, 5 * sec}}},
		{name: "all at the same time", spans: []Span{{0, 3 * sec}, {sec, 2 * sec}}, to: 5 * sec, want: [][2]source.Slot{{0, 3*sec - 200}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := source.NewLedger(testGrid(t), 0)
			l.Extend(60 * sec)
			for _, r := range tc.ended {
				for s := r[0]; s < r[1]; s += 200 {
					l.Resolve(s, source.Published)
				}
			}
			var got [][2]source.Slot
			for w := range (&Poller{ledger: paced{l, l.Grid()}}).planListed(list{spans: tc.spans}, 0, tc.to) {
				got = append(got, [2]source.Slot{w.Start, w.End})
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("windows %v, want %v", got, tc.want)
			}
		})
	}
}
