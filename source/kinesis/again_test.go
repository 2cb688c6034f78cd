package kinesis_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// TestLateUploads polls a camera that keeps some of its footage, and uploads it ten minutes
// later with its old timestamps: it arrives, out of order but once, and the ledger's sum
// holds.
func TestLateUploads(t *testing.T) {
	for name, denied := range map[string]bool{"listed": false, "not listed": true} {
		t.Run(name, func(t *testing.T) {
			sample(t)
			synctest.Test(t, func(t *testing.T) { pollLateUploads(t, denied) })
		})
	}
}

func pollLateUploads(t *testing.T, denied bool) {
	const length, again = 50 * time.Minute, 30 * time.Minute
	begin := time.Now()
	end := begin.Add(length)
	s := serve(t, kinesistest.Options{
		Streams: kinesistest.Cameras(1), Delay: 1500 * time.Millisecond, Seed: 1,
		Faults: kinesistest.Faults{
			Uploads: 0.1, UploadFor: 30 * time.Second, UploadAfter: 10 * time.Minute, Behind: 3 * time.Minute, DenyListFragments: denied,
		},
	}, kinesis.Options{})
	grid, err := source.NewGrid(source.MinInterval)
	if err != nil {
		t.Fatal(err)
	}
	ledger := source.NewLedger(grid, source.SlotAt(begin))
	poller := poll.New(s.client.Stream(kinesis.StreamOptions{Name: "cam-1", Producer: true}), ledger, poll.Options{
		Lag: poll.Auto, Overlap: poll.Auto, To: source.SlotAt(end), Again: again,
	})
	arrived, late := map[source.Slot]bool{}, uint64(0)
	for f, err := range poller.Frames(t.Context()) {
		switch {
		case err != nil:
			t.Fatal(err)
		case arrived[f.Slot]:
			t.Fatalf("%v came twice", f.Slot)
		case f.Late:
			late++
		case !ledger.Resolve(f.Slot, source.Published):
			t.Fatalf("%v had ended already", f.Slot)
		}
		arrived[f.Slot] = true
		if st := ledger.Stats(); st.Late != late || st.Expected != st.Ended[source.Published]+st.Ended[source.NoMedia]+st.Pending {
			t.Fatalf("%d came late, the ledger has %+v", late, st)
		}
	}
	truth, err := s.ProducerMedia("cam-1", begin, end, grid.Interval())
	if err != nil {
		t.Fatal(err)
	}
	missing := 0
	for _, at := range truth {
		// Later ones may be due after the end: the pauses grow with the age.
		if at.Exists && !arrived[source.SlotAt(at.Time)] && at.Visible.Before(end.Add(-15*time.Minute)) {
			missing++
		}
	}
	total := s.Totals()["cam-1"].Answered
	t.Logf("%d arrived, %d of them late; %.2f images for each", len(arrived), late, float64(total)/float64(len(arrived)))
	if missing > 0 || late == 0 {
		t.Errorf("%d are missing, %d came late", missing, late)
	}
	// It is 1.52 to 1.57 where fragments are not listed: which of two answers at the same instant
	// comes first is up to the scheduler.
	if limit := 1.6; float64(total) > limit*float64(len(arrived)) {
		t.Errorf("%d images were asked for, for %d frames", total, len(arrived))
	}
}
