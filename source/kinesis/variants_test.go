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

// TestVariants: whichever way the service behaves where its documents leave it open, every
// slot arrives, and outages are told, at much the same cost.
func TestVariants(t *testing.T) {
	for name, v := range map[string]kinesistest.Variants{
		"windows find the running fragment": {FindRunning: true},
		"empty windows have entries":        {EmptyEntries: true},
		"empty windows are refused":         {EmptyRefused: true},
		"missing instants are left out":     {OmitMissing: true},
		"windows exclude their end":         {ExcludeEnd: true},
		"entries are bare":                  {BareEntries: true, EmptyEntries: true},
		"all":                               {FindRunning: true, EmptyEntries: true, OmitMissing: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				outage := kinesistest.Interval{From: begin.Add(3 * time.Minute), To: begin.Add(3*time.Minute + 20*time.Second)}
				s := serve(t, kinesistest.Options{
					Streams: []kinesistest.Stream{{Name: "cam-1", Outages: []kinesistest.Interval{outage}}},
					Faults:  kinesistest.Faults{Variants: v},
				}, kinesis.Options{})
				grid, err := source.NewGrid(source.MinInterval)
				if err != nil {
					t.Fatal(err)
				}
				ledger := source.NewLedger(grid, source.SlotAt(begin))
				poller := poll.New(s.stream("cam-1"), ledger, poll.Options{
					Lag: poll.Auto, Overlap: poll.Auto, To: source.SlotAt(begin.Add(10 * time.Minute)),
				})
				for f, err := range poller.Frames(t.Context()) {
					if err != nil {
						t.Fatal(err)
					}
					ledger.Resolve(f.Slot, source.Published)
				}
				st := ledger.Stats()
				if st.Ended[source.Published] != 2900 || st.Ended[source.NoMedia] != 100 || st.Pending != 0 {
					t.Errorf("%+v", st)
				}
				total := s.Totals()["cam-1"]
				t.Logf("%d images made, %d asked for", total.Made, total.Asked)
				if total.Made > 2900*5/4 {
					t.Errorf("%d images were made", total.Made)
				}
			})
		})
	}
}
