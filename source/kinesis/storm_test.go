package kinesis_test

import (
	"flag"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

var (
	seeds     = flag.Int("seeds", 1, "how many seeds TestStorm runs")
	firstSeed = flag.Uint64("seed", 1, "the first of them")
)

// storm is most of what the service, the network and the cameras do, at once. Clocks
// that jump and retention that ends are not in it.
func storm() kinesistest.Faults {
	return kinesistest.Faults{
		Jitter: 300 * time.Millisecond, Late: 0.01, LateBy: 8 * time.Second, Never: 0.005,
		MediaErrors: 0.005, Outages: 0.01, Stretch: 10 * time.Second,
		Unordered: 0.2, Duplicates: 0.05, OffGrid: 40 * time.Millisecond, Outside: 0.1,
		EmptyPages: 0.02, TokenLife: 10 * time.Second, BadTokens: 0.02,
		Throttle: true, Others: 0.2, ThrottleEndpoint: 0.2,
		Errors: 0.02, Resets: 0.01, Cuts: 0.01, Slow: 0.01, Trickle: 0.01, SlowBy: 3 * time.Second,
		NoImages: 0.005, Rotate: 7 * time.Minute,
	}
}

// TestStorm polls streams for an hour of fake time under the faults of storm, and
// compares, slot by slot, what the fake had with what arrived. The cost is counted in
// images that the service generates; those asked for are more.
func TestStorm(t *testing.T) {
	for i := range *seeds {
		seed := *firstSeed + uint64(i)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			// Some streams with fragments of 2 s, at the cost that is promised, and some
			// with fragments of all lengths; without the permission to list them, and with.
			synctest.Test(t, func(t *testing.T) { runStorm(t, seed, 6, 2*time.Second, 1.25, true) })
			synctest.Test(t, func(t *testing.T) { runStorm(t, seed, 1, 7*time.Second, 4, true) })
			synctest.Test(t, func(t *testing.T) { runStorm(t, seed, 1, 2*time.Second, 1.25, false) })
			synctest.Test(t, func(t *testing.T) { runStorm(t, seed, 1, 7*time.Second, 1.3, false) })
		})
	}
}

func runStorm(t *testing.T, seed uint64, streams int, longest time.Duration, cost float64, denied bool) {
	faults := storm()
	faults.DenyListFragments = denied
	begin := time.Now()
	s := serve(t, kinesistest.Options{
		Streams: kinesistest.Cameras(streams), Seed: seed, Faults: faults, Delay: 1500 * time.Millisecond,
		Fragment: min(longest, 2*time.Second), FragmentMax: longest,
	}, kinesis.Options{})
	var wg sync.WaitGroup
	for _, name := range s.Streams() {
		wg.Go(func() { stormStream(t, s, name, begin, time.Hour, cost) })
	}
	wg.Wait()
}

func stormStream(t *testing.T, s *service, name string, begin time.Time, length time.Duration, limit float64) {
	const grace = 10 * time.Second
	grid, err := source.NewGrid(source.MinInterval)
	if err != nil {
		t.Error(err)
		return
	}
	ledger := source.NewLedger(grid, source.SlotAt(begin))
	poller := source.NewPoller(s.stream(name), ledger, source.Options{
		Lag: source.Auto, Overlap: source.Auto, Grace: grace, To: source.SlotAt(begin.Add(length)),
	})
	arrived := map[source.Slot]bool{}
	last := source.Slot(0)
	failed := 0
	for f, err := range poller.Frames(t.Context()) {
		if err != nil {
			failed++
			continue
		}
		if f.Slot <= last {
			t.Errorf("%s: slot %v came after %v", name, f.Slot, last)
		}
		last = f.Slot
		arrived[f.Slot] = true
		ledger.Resolve(f.Slot, source.Published)
	}

	truth, err := s.Media(name, begin, begin.Add(length), grid.Interval())
	if err != nil {
		t.Error(err)
		return
	}
	missing, errors := 0, uint64(0)
	for _, at := range truth {
		slot := source.SlotAt(at.Time)
		inTime := at.Exists && !at.Visible.IsZero() && !at.Visible.After(at.Time.Add(grace))
		switch {
		case inTime && at.MediaError:
			errors++
		case inTime && !arrived[slot]:
			if missing++; missing <= 5 {
				t.Errorf("%s: %v of the fragment %v to %v, visible %v after it, did not arrive",
					name, slot.Time().Sub(begin), at.Start.Sub(begin), at.End.Sub(begin), at.Visible.Sub(at.Time))
			}
		case !at.Exists && arrived[slot]:
			t.Errorf("%s: %v arrived, and never was", name, slot)
		}
	}
	st := ledger.Stats()
	if missing > 0 {
		t.Errorf("%s: %d slots are missing", name, missing)
	}
	if st.Pending != 0 || st.Expected != uint64(len(truth)) || st.Ended[source.Published] != uint64(len(arrived)) || st.Ended[source.MediaError] < errors {
		t.Errorf("%s: %d slots and %d media errors there, the ledger has %+v", name, len(truth), errors, st)
	}
	total := s.Totals()[name]
	cost := float64(total.Made) / float64(len(arrived))
	t.Logf("%s: %d of %d arrived, %d failed polls, %.3f images made and %.3f asked for each, lag %v",
		name, len(arrived), len(truth), failed, cost, float64(total.Asked)/float64(len(arrived)), poller.Lag())
	if cost > limit {
		t.Errorf("%s: %.3f images made for each that arrived", name, cost)
	}
}
