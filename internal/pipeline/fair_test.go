package pipeline

import (
	"context"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
)

// TestStreamsShareTheWorkersFairly: one stream catches up with an hour while the
// others are live, and there is time for all but one. These others must not notice.
func TestStreamsShareTheWorkersFairly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{decode: func(source.Slot) time.Duration { return 40 * time.Millisecond }}
		ages := map[string]time.Duration{}
		r.refuse = func(m publish.Message) error {
			at, err := time.Parse(time.RFC3339, m.Header["Cvf-Time"][0])
			r.mu.Lock()
			defer r.mu.Unlock()
			ages[m.Subject] = max(ages[m.Subject], time.Since(at))
			return err
		}
		begin := time.Now()
		r.build(t, 4, time.Minute, func(o *Options, streams []Stream) {
			o.Workers = 1
			streams[0].From = streams[0].From.Add(-time.Hour)
		})
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, subject := range []string{"cam-2.a", "cam-3.a", "cam-4.a"} {
			// A stream has a frame waiting while each of the four others has its turn.
			if age := ages[subject]; age > 2*time.Second {
				t.Errorf("%s: a frame was %v old", subject, age)
			}
			if n := len(r.slots(t, subject)); n != 300 {
				t.Errorf("stream %d: %d frames", i, n)
			}
		}
		caught := len(r.slots(t, "cam-1.a"))
		t.Logf("%v for %d frames of the backlog, the others at most %v old", time.Since(begin), caught, ages)
		if caught != 3600*5+300 {
			t.Errorf("%d frames of the backlog", caught)
		}
	})
}

// noticing is a delivery that notices gaps.
type noticing struct {
	*rig
	gap func(publish.Gap)
}

func (n noticing) Gap(_ context.Context, g publish.Gap, _ []publish.Route) error {
	n.gap(g)
	return nil
}

// TestTooFewCores: eight streams want two fifths more than the worker can do. All fall
// behind alike; how busy the worker is says so long before the first frame is stale;
// and then all lose alike.
func TestTooFewCores(t *testing.T) {
	const (
		streams   = 8
		length    = time.Minute
		freshness = 8 * time.Second
		decode    = 35 * time.Millisecond // 28 of the 40 frames a second
	)
	synctest.Test(t, func(t *testing.T) {
		r := &rig{decode: func(source.Slot) time.Duration { return decode }}
		begin := time.Now()
		newest := map[string]time.Duration{} // by subject: the age of the last frame
		var busyAt, behind time.Duration     // since the beginning; the largest difference of ages
		r.refuse = func(m publish.Message) error {
			at, err := time.Parse(time.RFC3339, m.Header["Cvf-Time"][0])
			r.mu.Lock()
			defer r.mu.Unlock()
			newest[m.Subject] = time.Since(at)
			if busyAt == 0 && r.Busy() > .95 {
				busyAt = time.Since(begin)
			}
			if time.Since(begin) > 5*time.Second && time.Since(begin) < length {
				ages := slices.Sorted(maps.Values(newest))
				behind = max(behind, ages[len(ages)-1]-ages[0])
			}
			return err
		}
		var stale time.Duration // when the first frame was
		r.build(t, streams, length, func(o *Options, streams []Stream) {
			o.Workers = 1
			for i := range streams {
				streams[i].Freshness = freshness
			}
			o.Delivery = noticing{r, func(g publish.Gap) {
				r.mu.Lock()
				defer r.mu.Unlock()
				if stale == 0 && g.Reason == source.Stale.String() {
					stale = time.Since(begin)
				}
			}}
		})
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		var frames []int
		for _, s := range r.Streams() {
			frames = append(frames, int(s.Stats.Ended[source.Published]))
			if s.Stats.Ended[source.Published]+s.Stats.Ended[source.Stale] != s.Stats.Expected {
				t.Errorf("%s: %v of %d slots", s.Name, s.Stats.Ended, s.Stats.Expected)
			}
		}
		least, most := slices.Min(frames), slices.Max(frames)
		t.Logf("busy after %v, stale after %v; ages apart by %v at the most; %d to %d frames a stream", busyAt, stale, behind, least, most)
		if busyAt == 0 || busyAt > stale-freshness/2 {
			t.Errorf("it was told after %v, and frames were stale after %v", busyAt, stale)
		}
		if behind > freshness/2 { // a poll brings the frames of a second or more
			t.Errorf("the newest frames of two streams were %v apart", behind)
		}
		if least < most*3/5 { // where turns were lost it was a third
			t.Errorf("%d to %d frames a stream", least, most)
		}
	})
}

// TestWaitedOnce: a stream of a frame a minute once had to wait for long. Its next
// frames do not, and are not given up for it.
func TestWaitedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := source.SlotAt(time.Now())
		r := &rig{decode: func(s source.Slot) time.Duration {
			if s == begin.Add(55*time.Second) {
				return 25 * time.Second
			}
			return 0
		}}
		grid, err := source.NewGrid(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		r.build(t, 2, 6*time.Minute, func(o *Options, streams []Stream) {
			o.Workers = 1
			for i := range streams {
				streams[i].Freshness = 8 * time.Second
			}
			streams[1].Grid = grid
		})
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if st := r.Streams()[1]; st.Stats.Ended[source.Stale] != 1 || st.Stats.Ended[source.Published] != st.Stats.Expected-1 {
			t.Errorf("%v of %d slots, want one to be stale", st.Stats.Ended, st.Stats.Expected)
		}
	})
}
