package kinesis_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// TestRandomCameraClocks polls cameras whose clocks are off and set at random, with
// fragments and delays of all kinds.
func TestRandomCameraClocks(t *testing.T) {
	for seed := range uint64(*seeds) {
		seed += *firstSeed
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 12))
			off := func() time.Duration {
				most := []time.Duration{10 * time.Second, 3 * time.Minute, 50 * time.Minute}[random.IntN(3)]
				return (time.Duration(random.Int64N(int64(2*most))) - most).Truncate(time.Millisecond)
			}
			w := wrongClock{
				behind: off(), denied: random.IntN(2) == 0,
				fragment: time.Duration(500+random.IntN(5000)) * time.Millisecond,
				delay:    time.Duration(500+random.IntN(4000)) * time.Millisecond,
				interval: []time.Duration{200 * time.Millisecond, time.Second, 4 * time.Second}[random.IntN(3)],
			}
			w.set = []kinesistest.ClockSetting{{
				At: time.Unix(0, 0).Add(5*time.Minute + time.Duration(random.IntN(600))*time.Second), Behind: off(),
			}}
			w.length = 20*time.Minute + max(w.set[0].Behind-w.behind, 0)
			t.Logf("%+v", w)
			sample(t)
			synctest.Test(t, func(t *testing.T) { w.run(t) })
		})
	}
}
