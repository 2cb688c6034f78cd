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

// TestPollWhatIsDenied polls services whose answers lack media that is there, or that show it
// late: every slot with a picture arrives, and soon after it is visible.
func TestPollWhatIsDenied(t *testing.T) {
	auto := poll.Options{Lag: poll.Auto, Overlap: poll.Auto, Grace: 10 * time.Second}
	with := func(change func(*poll.Options)) poll.Options {
		opts := auto
		change(&opts)
		return opts
	}
	for name, tc := range map[string]struct {
		service kinesistest.Options
		from    time.Duration
		opts    poll.Options
		late    time.Duration // how long after its media was visible a slot may arrive
		begin   time.Duration // in which that may take longer
		cost    float64       // images asked for each slot and not refused
	}{
		"pages without media": {
			service: kinesistest.Options{Faults: kinesistest.Faults{Hidden: 0.05, Throttle: true}},
			opts:    auto, late: 5 * time.Second, cost: 1.5,
		},
		"pages without media, in a backlog": {
			service: kinesistest.Options{Faults: kinesistest.Faults{Hidden: 0.05, Throttle: true}},
			from:    -time.Hour, opts: auto, late: 2 * time.Hour, cost: 2,
		},
		"fragments left out": {
			service: kinesistest.Options{Faults: kinesistest.Faults{HiddenFragments: 0.05, Throttle: true}},
			opts:    auto, late: 6 * time.Second, cost: 1.6,
		},
		"late fragments and a long grace": {
			service: kinesistest.Options{Faults: kinesistest.Faults{Late: 0.05, LateBy: 60 * time.Second, Throttle: true}},
			// A late fragment holds back what is visible after it.
			opts: with(func(o *poll.Options) { o.Grace = 2 * time.Minute }), late: 75 * time.Second, cost: 2,
		},
		"media after 28s": {
			service: kinesistest.Options{Delay: 28 * time.Second}, opts: auto,
			late: 3 * time.Second, begin: time.Minute, cost: 1.5,
		},
		"media after 70s": {
			service: kinesistest.Options{Delay: 70 * time.Second}, opts: auto,
			late: 3 * time.Second, begin: 2 * time.Minute, cost: 1.5,
		},
		"media after 28s, with a lag of 5s": {
			service: kinesistest.Options{Delay: 28 * time.Second},
			opts:    with(func(o *poll.Options) { o.Lag = 5 * time.Second }),
			late:    10 * time.Second, begin: time.Minute, cost: 5,
		},
		"media becomes later": {
			service: kinesistest.Options{Faults: kinesistest.Faults{Later: 60 * time.Second, LaterEvery: 3 * time.Minute}},
			opts:    auto, late: time.Minute, cost: 2,
		},
		"media errors at first": {
			service: kinesistest.Options{Faults: kinesistest.Faults{EarlyErrors: 0.1, EarlyFor: 5 * time.Second}},
			opts:    auto, late: 12 * time.Second, cost: 1.7,
		},
		"fragments of 25s": {
			service: kinesistest.Options{Fragment: 25 * time.Second}, opts: auto,
			late: 12 * time.Second, begin: 3 * time.Minute, cost: 1.7,
		},
		"fragments of 45s": {
			service: kinesistest.Options{Fragment: 45 * time.Second}, opts: auto,
			late: 12 * time.Second, begin: 4 * time.Minute, cost: 3,
		},
		"fragments of 20s to 50s": {
			service: kinesistest.Options{Fragment: 20 * time.Second, FragmentMax: 50 * time.Second}, opts: auto,
			late: 40 * time.Second, begin: 4 * time.Minute, cost: 8,
		},
	} {
		for _, list := range []bool{false, true} {
			sub := name
			if list {
				sub += ", listed"
			}
			t.Run(sub, func(t *testing.T) {
				sample(t)
				synctest.Test(t, func(t *testing.T) {
					service := tc.service
					service.Seed, service.Streams = 3, kinesistest.Cameras(1)
					service.Faults.DenyListFragments = !list
					// The first slots are not those of a fragment's start.
					time.Sleep(17 * time.Second)
					now := time.Now()
					begin, end := now.Add(tc.from), now.Add(tc.from+20*time.Minute)
					s := serve(t, service, kinesis.Options{})
					grid, err := source.NewGrid(source.MinInterval)
					if err != nil {
						t.Fatal(err)
					}
					l := source.NewLedger(grid, source.SlotAt(begin))
					opts := tc.opts
					opts.To = source.SlotAt(end)
					poller := poll.New(s.stream("cam-1"), l, opts)
					arrived := map[source.Slot]time.Time{}
					failed := 0
					for f, err := range poller.Frames(t.Context()) {
						if err != nil {
							failed++
							continue
						}
						arrived[f.Slot] = time.Now()
						l.Resolve(f.Slot, source.Published)
					}
					truth, err := s.Media("cam-1", begin, end, grid.Interval())
					if err != nil {
						t.Fatal(err)
					}
					missing := 0
					var delays []time.Duration
					for _, at := range truth {
						when, here := arrived[source.SlotAt(at.Time)]
						if !here {
							if missing++; missing < 5 {
								t.Errorf("%v, of the fragment %v to %v, is missing", at.Time.Sub(begin), at.Start.Sub(begin), at.End.Sub(begin))
							}
							continue
						}
						if at.Time.Sub(begin) > tc.begin {
							delays = append(delays, when.Sub(at.Visible))
						}
					}
					slices.Sort(delays)
					total := s.Totals()["cam-1"]
					cost := float64(total.Answered) / float64(len(truth))
					t.Logf("%d of %d missing, %.2f images asked for each and not refused, %d requests, %d failed polls, visible for %v in the median, %v at most, lag %v",
						missing, len(truth), cost, total.Requests, failed, delays[len(delays)/2], delays[len(delays)-1], poller.State().Lag)
					if missing > 0 || cost > tc.cost || delays[len(delays)-1] > tc.late {
						t.Errorf("%d slots are missing; %.2f images for each, want at most %.2f; one was visible for %v, want at most %v",
							missing, cost, tc.cost, delays[len(delays)-1], tc.late)
					}
				})
			})
		}
	}
}
