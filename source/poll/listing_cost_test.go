package poll

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A pattern is how long a camera's fragments are.
type pattern struct {
	name   string
	varies bool
	noise  float64                                   // how much more or less polls cost, or later frames come, by chance alone
	length func(n int, rng *rand.Rand) time.Duration // of the n-th fragment
}

func between(shortest, longest time.Duration) func(int, *rand.Rand) time.Duration {
	return func(_ int, rng *rand.Rand) time.Duration {
		return shortest + time.Duration(rng.Int64N(int64(longest-shortest)+1)).Truncate(time.Millisecond)
	}
}

// longAmong returns fragments of 2 s, of which every tenth is longer.
func longAmong(long time.Duration) func(int, *rand.Rand) time.Duration {
	return func(n int, _ *rand.Rand) time.Duration {
		if n%10 == 9 {
			return long
		}
		return 2 * time.Second
	}
}

var patterns = []pattern{
	{"2s", false, 0, between(2*time.Second, 2*time.Second)},
	{"4s", false, 0, between(4*time.Second, 4*time.Second)},
	{"2.0s to 2.2s", false, 0.3, between(2*time.Second, 2200*time.Millisecond)},
	{"10s among 2s", false, 0, longAmong(10 * time.Second)},
	{"9.3s among 2s", false, 0, longAmong(9300 * time.Millisecond)},
	{"1s to 12s", true, 0, between(time.Second, 12*time.Second)},
	{"1s to 20s", true, 0, between(time.Second, 20*time.Second)},
	{"2s to 7s", true, 0, between(2*time.Second, 7*time.Second)},
	{"1s", false, 0, between(time.Second, time.Second)},
}

// A costCamera counts the images that it makes.
type costCamera struct {
	camera
	made, listings int
}

func (c *costCamera) Images(ctx context.Context, w Window) iter.Seq2[Image, error] {
	return func(yield func(Image, error) bool) {
		for img, err := range c.camera.Images(ctx, w) {
			if err == nil && img.Err == nil {
				c.made++
			}
			if !yield(img, err) {
				return
			}
		}
	}
}

// A costLister is a costCamera whose fragments can be listed.
type costLister struct{ *costCamera }

func (c costLister) Fragments(_ context.Context, from, to source.Slot) ([]Span, error) {
	c.listings++
	now := source.SlotAt(time.Now())
	var spans []Span
	for span := c.span(from); span.Start <= to && span.End < now; span = c.span(span.End) {
		if span.Start >= from && c.visible(span.Start, span.Start, now) {
			spans = append(spans, span)
		}
	}
	return spans, nil
}

// A cost is what it takes to poll a stream for half an hour.
type cost struct {
	median, p95 time.Duration // of the ages, after the first minute
	asked, made float64       // images, for each slot that was published
	requests    float64       // a minute, listings included
	fragments   float64       // a minute
	lost        uint64
}

func (c cost) String() string {
	return fmt.Sprintf("%5.1f %5.1f  %5.2f %5.2f  %5.1f", c.median.Seconds(), c.p95.Seconds(), c.asked, c.made, c.requests)
}

// costOf returns the cost, and the ages at which media is visible: what is possible.
func costOf(t *testing.T, pat pattern, delay, interval time.Duration, list bool) (c, possible cost) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		const length = 30 * time.Minute
		rng := rand.New(rand.NewPCG(1, 2))
		begin := source.SlotAt(time.Now())
		cam := &costCamera{camera: camera{latency: 30 * time.Millisecond}}
		jitter := map[source.Slot]time.Duration{}
		at := begin.Add(-10 * time.Minute)
		for n := 0; at < begin.Add(length+time.Hour); n++ {
			end := at.Add(pat.length(n, rng))
			cam.spans = append(cam.spans, Span{at, end})
			jitter[at] = time.Duration(rng.Int64N(300)) * time.Millisecond
			at = end
		}
		cam.delay = func(start source.Slot) time.Duration { return delay + jitter[start] }
		grid, err := source.NewGrid(interval)
		if err != nil {
			t.Fatal(err)
		}
		l := source.NewLedger(grid, begin)
		var fetch Fetcher = cam
		if list {
			fetch = costLister{cam}
		}
		p := New(fetch, l, Options{Lag: Auto, Overlap: Auto, Grace: 30 * time.Second, To: begin.Add(length)})
		var ages, visible []time.Duration
		for f, err := range p.Frames(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			l.Resolve(f.Slot, source.Published)
			if f.Slot.Sub(begin) > time.Minute {
				span := cam.span(f.Slot)
				ages = append(ages, source.SlotAt(time.Now()).Sub(f.Slot))
				visible = append(visible, span.End.Add(cam.delay(span.Start)).Sub(f.Slot))
			}
		}
		st := l.Stats()
		n := float64(st.Ended[source.Published])
		c = cost{
			asked: float64(cam.asked) / n, made: float64(cam.made) / n, lost: st.Expected - st.Ended[source.Published],
			requests:  float64(cam.requests+cam.listings) / length.Minutes(),
			fragments: float64(len(cam.spans)) / at.Sub(begin.Add(-10*time.Minute)).Minutes(),
		}
		c.median, c.p95 = quantiles(ages)
		possible.median, possible.p95 = quantiles(visible)
	})
	return c, possible
}

func quantiles(ages []time.Duration) (median, p95 time.Duration) {
	slices.Sort(ages)
	return ages[len(ages)/2], ages[len(ages)*95/100]
}

// TestListingCost compares polls with and without the permission to list fragments. With it,
// frames must not be older, nor cost more images or requests. Where fragments vary, frames
// must be hardly older than their media is visible, at hardly more than the images that are
// published, with three or four requests for a fragment.
func TestListingCost(t *testing.T) {
	var sums [2]cost // of slots that are further apart than most fragments are long
	t.Log("fragments, delay, interval: possible age (median, 95%) | without | with: age, images asked and made, requests a minute")
	for _, pat := range patterns {
		for _, delay := range []time.Duration{time.Second, 3 * time.Second, 8 * time.Second} {
			for _, interval := range []time.Duration{step, time.Second, 5 * time.Second} {
				name := fmt.Sprintf("%s, %v, %v", pat.name, delay, interval)
				without, possible := costOf(t, pat, delay, interval, false)
				with, _ := costOf(t, pat, delay, interval, true)
				t.Logf("%-20s: %5.1f %5.1f | %v | %v", name, possible.median.Seconds(), possible.p95.Seconds(), without, with)
				if with.lost > 0 || without.lost > 0 {
					t.Errorf("%s: %d slots lost, %d without the permission", name, with.lost, without.lost)
				}
				worse := func(what string, with, limit float64) {
					t.Helper()
					if with > limit {
						t.Errorf("%s: %s %.2f, want at most %.2f", name, what, with, limit)
					}
				}
				if interval > time.Second {
					for i, c := range []cost{without, with} {
						sums[i].median += c.median
						sums[i].asked += c.asked
						sums[i].made += c.made
						sums[i].requests += c.requests
					}
					continue
				}
				if !pat.varies { // a list now and then shows whether fragments vary
					worse("requests", with.requests, 1.05*without.requests+0.3+pat.noise*without.requests)
				}
				worse("images asked", with.asked, 1.05*without.asked+pat.noise*without.asked)
				worse("images made", with.made, 1.05*without.made+pat.noise*without.made)
				worse("age", with.median.Seconds(), 1.05*without.median.Seconds()+0.75+pat.noise*without.median.Seconds())
				worse("greater ages", with.p95.Seconds(), 1.05*without.p95.Seconds()+0.75)
				// Without the permission, frames come nearly as soon, and cost little more.
				fragment := 60 / with.fragments
				worse("age without", without.median.Seconds(), possible.median.Seconds()+max(1.5, fragment*0.4))
				worse("greater ages without", without.p95.Seconds(), possible.p95.Seconds()+max(2.5, fragment/4))
				worse("images asked without", without.asked, 3+2*interval.Seconds())
				worse("images made without", without.made, 1.5+0.7*interval.Seconds())
				if !pat.varies {
					continue
				}
				worse("requests", with.requests, 4.5*with.fragments)
				worse("images asked", with.asked, 1.1+0.6*interval.Seconds())
				worse("images made", with.made, 1.05)
				worse("age", with.median.Seconds(), possible.median.Seconds()+min(fragment/4, 2))
				worse("greater ages", with.p95.Seconds(), possible.p95.Seconds()+min(fragment/4, 2))
			}
		}
	}
	t.Logf("all of 5s: %v | %v", sums[0], sums[1])
	if without, with := sums[0], sums[1]; with.median > without.median*11/10 || with.asked > 1.1*without.asked ||
		with.made > 1.1*without.made || with.requests > 1.1*without.requests {
		t.Error("of slots 5s apart, all together cost more with the permission")
	}
}
