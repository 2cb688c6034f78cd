package kinesis_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// TestSlotsOfASilentCameraEnd: the slots of a camera that has stopped for good end soon after
// they were waited for, whether or not fragments are listed. Otherwise more and more of them
// would be pending, and nobody would be told that the camera is silent.
func TestSlotsOfASilentCameraEnd(t *testing.T) {
	for _, lists := range []bool{false, true} {
		for _, fragment := range []time.Duration{time.Second, 2 * time.Second, 10 * time.Second} {
			t.Run(fmt.Sprintf("fragments of %v, listed %v", fragment, lists), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					const length = 12 * time.Minute
					begin := time.Now()
					off := kinesistest.Interval{From: begin.Add(time.Minute), To: begin.Add(time.Hour)}
					w := &watched{lists: lists}
					var behind time.Duration
					var watching sync.WaitGroup
					watch := func() {
						for time.Since(begin) < length-time.Minute {
							time.Sleep(time.Second)
							if first, ok := w.ledger.Wanted(0); ok {
								behind = max(behind, source.SlotAt(time.Now()).Sub(first))
							}
						}
					}
					w.opts = func(o *poll.Options) { // the ledger is there
						o.Grace = 10 * time.Second
						watching.Go(watch)
					}
					w.run(t, kinesistest.Options{Fragment: fragment, Streams: []kinesistest.Stream{{Name: "cam-1", Outages: []kinesistest.Interval{off}}}}, begin, length)
					watching.Wait()
					// Two minutes, half a minute as slots are decided together, and as much between looks.
					if limit := 3 * time.Minute; behind > limit {
						t.Errorf("slots were pending for %v, want at most %v", behind, limit)
					}
				})
			})
		}
	}
}
