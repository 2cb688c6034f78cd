package kinesis

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
)

// TestBudgetKeepsWithinThePoints asks as fast as the budget lets, and counts the
// points that are used.
func TestBudgetKeepsWithinThePoints(t *testing.T) {
	for _, images := range []int{1, 25, 100} {
		synctest.Test(t, func(t *testing.T) {
			b := newBudget(0)
			begin := time.Now()
			requests := 0
			for time.Since(begin) < time.Minute {
				if err := b.wait(t.Context(), images); err != nil {
					t.Fatal(err)
				}
				requests++
				b.answered("OK")
			}
			// A full bucket at the start is one second more.
			media, metadata := float64(requests*images)/61, float64(requests*(400+images))/61
			if media > limits.MediaPoints+2 || metadata > limits.MetadataPoints+20 {
				t.Errorf("%d images a request: %.0f media and %.0f metadata points a second", images, media, metadata)
			}
			if media < 0.9*limits.MediaPoints && metadata < 0.9*limits.MetadataPoints {
				t.Errorf("%d images a request: only %.0f media and %.0f metadata points a second", images, media, metadata)
			}
		})
	}
}

// TestBudgetYieldsToOthers shares the points with a reader that takes four fifths
// of them, and then has them for itself again.
func TestBudgetYieldsToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(0)
		left := 0.0 // points that the service has left
		last := time.Now()
		throttled, answered := 0, 0
		ask := func(points float64) {
			if err := b.wait(t.Context(), 25); err != nil {
				t.Fatal(err)
			}
			left = min(left+points*time.Since(last).Seconds(), points)
			last = time.Now()
			if left < 25 {
				throttled++
				b.answered(codeLimit)
				return
			}
			left -= 25
			answered++
			b.answered("OK")
		}
		for begin := time.Now(); time.Since(begin) < 2*time.Minute; {
			ask(limits.MediaPoints / 5)
		}
		if share := float64(throttled) / float64(throttled+answered); share > 0.1 {
			t.Errorf("%.0f%% of the requests were throttled", 100*share)
		}
		if got := float64(answered) * 25 / 120; got < 0.5*limits.MediaPoints/5 {
			t.Errorf("only %.0f of %d points a second were used", got, limits.MediaPoints/5)
		}
		throttled = 0
		for begin := time.Now(); time.Since(begin) < time.Minute; {
			ask(limits.MediaPoints)
		}
		if share := b.share.Value(); share != 1 {
			t.Errorf("the share is %.2f a minute after the others have gone", share)
		}
	})
}
