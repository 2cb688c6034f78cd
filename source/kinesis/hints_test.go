package kinesis_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// TestListsAreHints has lists of fragments that are wrong in every way, of a backlog and then
// at the live edge: every slot arrives in spite of them, hardly later, and at a bounded cost.
func TestListsAreHints(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		name   string
		faults kinesistest.Faults
		asked  float64       // images for each that arrives, at most
		late   time.Duration // how much older than possible the median frame is, at most
	}{
		{"right", kinesistest.Faults{}, 1.25, 2 * time.Second},
		{"starts that jitter by 60 ms", kinesistest.Faults{ListJitter: 60 * ms}, 1.35, 2 * time.Second},
		{"starts that jitter by 300 ms", kinesistest.Faults{ListJitter: 300 * ms}, 2.5, 2 * time.Second},
		{"lengths without the last frame's", kinesistest.Faults{ListShort: 100 * ms}, 1.35, 2 * time.Second},
		{"lengths without a slow camera's last frame's", kinesistest.Faults{ListShort: time.Second}, 1.9, 2 * time.Second},
		{"lengths that overlap", kinesistest.Faults{ListLong: 700 * ms}, 1.7, 2 * time.Second},
		{"absurd lengths", kinesistest.Faults{ListAbsurd: 0.1}, 1.8, 2 * time.Second},
		{"no sensible length at all", kinesistest.Faults{ListAbsurd: 1}, 8, 6 * time.Second},
		{"fragments missing", kinesistest.Faults{ListMissing: 0.05}, 2.5, 2500 * ms},
		{"all fragments missing", kinesistest.Faults{ListMissing: 1}, 8, 6 * time.Second},
		{"fragments twice, in no order", kinesistest.Faults{ListTwice: 0.5, Unordered: 1}, 1.25, 2 * time.Second},
		{"lists that end early", kinesistest.Faults{ListEnds: 0.2}, 2, 2500 * ms},
		{"lists that always end early", kinesistest.Faults{ListEnds: 1}, 8, 6 * time.Second},
		{"small pages", kinesistest.Faults{ListPage: 3}, 1.25, 2 * time.Second},
		{"lists that lag by 1 s", kinesistest.Faults{ListLag: time.Second}, 1.6, 3 * time.Second},
		{"lists that lag by 15 s", kinesistest.Faults{ListLag: 15 * time.Second}, 8, 6 * time.Second},
		{"lists that are ahead by 1 s", kinesistest.Faults{ListAhead: time.Second}, 8, 3 * time.Second},
		{"lists that are ahead by 5 s", kinesistest.Faults{ListAhead: 5 * time.Second}, 8, 6 * time.Second},
		{"all of it", kinesistest.Faults{
			ListJitter: 60 * ms, ListShort: 100 * ms, ListLong: 50 * ms, ListAbsurd: 0.01, ListMissing: 0.01, ListTwice: 0.05,
			ListEnds: 0.02, ListPage: 10, ListLag: 500 * ms, ListAhead: 500 * ms, Unordered: 0.2,
		}, 3, 3 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sample(t)
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				s := serve(t, kinesistest.Options{
					Streams: kinesistest.Cameras(1), Faults: tc.faults, Delay: 6 * time.Second,
					Fragment: time.Second, FragmentMax: 12 * time.Second,
				}, kinesis.Options{})
				hintsPolled(t, s, begin, tc.asked, tc.late)
			})
		})
	}
}

// hintsPolled polls five minutes of backlog and twenty of the present.
func hintsPolled(t *testing.T, s *service, begin time.Time, cost float64, late time.Duration) {
	from, to := begin.Add(-5*time.Minute), begin.Add(20*time.Minute)
	grid, err := source.NewGrid(source.MinInterval)
	if err != nil {
		t.Fatal(err)
	}
	ledger := source.NewLedger(grid, source.SlotAt(from))
	poller := poll.New(s.stream("cam-1"), ledger, poll.Options{
		Lag: poll.Auto, Overlap: poll.Auto, Grace: 30 * time.Second, To: source.SlotAt(to),
	})
	arrived := map[source.Slot]time.Time{}
	for f, err := range poller.Frames(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		arrived[f.Slot] = time.Now()
		ledger.Resolve(f.Slot, source.Published)
	}
	truth, err := s.Media("cam-1", from, to, grid.Interval())
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	var extra []time.Duration
	for _, at := range truth {
		when, here := arrived[source.SlotAt(at.Time)]
		if !here {
			lost++
		} else if at.Time.Sub(begin) > 3*time.Minute {
			extra = append(extra, when.Sub(at.Visible))
		}
	}
	slices.Sort(extra)
	total := s.Totals()["cam-1"]
	asked := float64(total.Answered) / float64(len(arrived))
	median, p95 := extra[len(extra)/2], extra[len(extra)*95/100]
	t.Logf("%d lost, %.2f images asked and %.2f made for each, %d requests, %.1fs and %.1fs (95%%) after they were visible",
		lost, asked, float64(total.Made)/float64(len(arrived)), total.Requests, median.Seconds(), p95.Seconds())
	if lost > 0 {
		t.Errorf("%d of %d slots lost", lost, len(truth))
	}
	if asked > cost || median > late {
		t.Errorf("%.2f images asked for each, want at most %.2f; the median came after %v, want %v", asked, cost, median, late)
	}
}
