package kinesis_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// TestPollBacklog: of media that has long been visible nothing is lost, however long its
// fragments are, and however few frames the camera has.
func TestPollBacklog(t *testing.T) {
	const ms, sec = time.Millisecond, time.Second
	for name, tc := range map[string]struct {
		fragment, longest time.Duration
		faults            kinesistest.Faults
	}{
		"fragments of 12 to 40 s":                              {12 * sec, 40 * sec, kinesistest.Faults{}},
		"of 20 to 60 s":                                        {20 * sec, 60 * sec, kinesistest.Faults{}},
		"of 20 to 60 s, not listed":                            {20 * sec, 60 * sec, kinesistest.Faults{DenyListFragments: true}},
		"of 12 to 40 s, not listed":                            {12 * sec, 40 * sec, kinesistest.Faults{DenyListFragments: true}},
		"of 1 to 30 s, not listed":                             {1 * sec, 30 * sec, kinesistest.Faults{DenyListFragments: true}},
		"a frame in 0.9 s":                                     {2 * sec, 9 * sec, kinesistest.Faults{FrameEvery: 909 * ms, FrameGaps: true, DenyListFragments: true}},
		"a frame in 0.9 s, by its own time":                    {2 * sec, 9 * sec, kinesistest.Faults{FrameEvery: 909 * ms, FrameGaps: true, FrameTimes: true, DenyListFragments: true}},
		"a frame in 0.9 s, by its own time, and lists of them": {2 * sec, 9 * sec, kinesistest.Faults{FrameEvery: 909 * ms, FrameGaps: true, FrameTimes: true}},
		"a frame in 1.5 s, by its own time, and lists of them": {2 * sec, 9 * sec, kinesistest.Faults{FrameEvery: 1500 * ms, FrameGaps: true, FrameTimes: true}},
		"a frame in 1.5 s, by its own time":                    {2 * sec, 9 * sec, kinesistest.Faults{FrameEvery: 1500 * ms, FrameGaps: true, FrameTimes: true, DenyListFragments: true}},
		"a frame in 0.9 s, and lists of them":                  {2 * sec, 9 * sec, kinesistest.Faults{FrameEvery: 909 * ms, FrameGaps: true}},
	} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%s, seed %d", name, seed), func(t *testing.T) {
				sample(t)
				synctest.Test(t, func(t *testing.T) {
					camera := kinesistest.Stream{Name: "cam-1", Fragment: tc.fragment, FragmentMax: tc.longest, Faults: &tc.faults}
					pollBacklog(t, serve(t, kinesistest.Options{Streams: []kinesistest.Stream{camera}, Seed: seed}, kinesis.Options{}))
				})
			})
		}
	}
}

// pollBacklog polls twenty minutes that ended five minutes ago.
func pollBacklog(t *testing.T, s *service) {
	now := time.Now()
	begin, end := now.Add(-25*time.Minute), now.Add(-5*time.Minute)
	grid, err := source.NewGrid(source.MinInterval)
	if err != nil {
		t.Fatal(err)
	}
	ledger := source.NewLedger(grid, source.SlotAt(begin))
	poller := poll.New(s.stream("cam-1"), ledger, poll.Options{Lag: poll.Auto, Overlap: poll.Auto, To: source.SlotAt(end)})
	arrived := map[source.Slot]bool{}
	for f, err := range poller.Frames(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		arrived[f.Slot] = true
		ledger.Resolve(f.Slot, source.Published)
	}
	truth, err := s.Media("cam-1", begin, end, grid.Interval())
	if err != nil {
		t.Fatal(err)
	}
	missing := 0
	for _, at := range truth[:len(truth)-1] { // the service may give the last frame for the slot after it
		if at.Exists && !arrived[source.SlotAt(at.Time)] {
			if missing++; missing <= 3 {
				t.Errorf("%v of the fragment %v to %v did not arrive", at.Time.Sub(begin), at.Start.Sub(begin), at.End.Sub(begin))
			}
		}
	}
	t.Logf("%d arrived, %d are missing, after %v", len(arrived), missing, time.Since(now))
}
