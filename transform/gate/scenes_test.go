package gate_test

import (
	"image"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/transform/gate"
	"github.com/cvfeeder/cvfeeder/transform/gate/gatetest"
)

var epoch = time.Unix(1_700_000_000, 0)

// TestScenes: whatever the noise and the light, every change that can be seen passes, and
// where nothing happens hardly anything does.
func TestScenes(t *testing.T) {
	const interval = 200 * time.Millisecond
	for _, s := range gatetest.Scenes() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			frames := s.Frames
			if testing.Short() || raceDetector {
				frames /= 3
			}
			g := gate.New(gate.Options{Change: s.Change, Every: 10 * time.Second})
			tally := s.Draw(1).Run(frames, interval, func(at time.Duration, seen *image.Gray) (pass, due bool) {
				means := gatetest.Means(seen)
				v := g.Decide(epoch.Add(at), interval, means, nil, means.Rect)
				return v.Pass, v.Why == gate.Due
			})
			t.Logf("%+v", tally)
			if tally.Seen != tally.Changes {
				t.Errorf("%d of %d changes passed", tally.Seen, tally.Changes)
			}
			if !s.Quiet && tally.Changes+tally.Idle < 1 {
				t.Errorf("only %d changes: the scene shows nothing", tally.Changes)
			}
			if s.Quiet && tally.Passed > frames/20 {
				t.Errorf("%d of %d frames passed where nothing happens", tally.Passed, frames)
			}
		})
	}
}
