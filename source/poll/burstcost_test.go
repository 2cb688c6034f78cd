package poll

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// TestPastCost: a range of the past costs its slots and what has to overlap. If another poller of
// the stream knows how long fragments are, that is a fragment for each window.
func TestPastCost(t *testing.T) {
	for _, fragment := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second} {
		for _, known := range []bool{true, false} {
			for _, slots := range []int{25, 75, 300} {
				t.Run(fmt.Sprintf("fragments of %v, known %v, %d slots", fragment, known, slots), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						const rounds = 20
						rng, c := rand.New(rand.NewPCG(1, 2)), &camera{fragment: fragment, delay: always(time.Second)}
						for range rounds {
							from := testGrid(t).Floor(source.SlotAt(time.Now()).Add(-time.Hour - time.Duration(rng.Int64N(int64(time.Hour)))))
							l := source.NewLedger(testGrid(t), from)
							opts := Options{Lag: Auto, Overlap: Auto, To: from.Add(time.Duration(slots) * step)}
							if known {
								opts.Fragment = fragment
							}
							for f, err := range New(c, l, opts).Frames(t.Context()) {
								if err != nil {
									t.Error(err)
									continue
								}
								l.Resolve(f.Slot, source.Published)
							}
							if st := l.Stats(); st.Ended[source.Published] != uint64(slots) {
								t.Errorf("%+v", st)
							}
						}
						windows := 1 + slots/50 // of 100 images at most, or twice the overlap
						more := float64(c.asked)/rounds - float64(slots)
						t.Logf("%.1f images besides the slots", more)
						if most := float64(windows) * float64(fragment/step+2); known && more > most {
							t.Errorf("%.1f images besides the slots, want at most %.0f", more, most)
						}
					})
				})
			}
		}
	}
}
