package camerahealth_test

import (
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/camerahealth"
	"github.com/cvfeeder/cvfeeder/transform/gate/gatetest"
	"github.com/cvfeeder/cvfeeder/transform/quality"
)

var midnight = time.Unix(1_700_006_400, 0)

// watch has a watch look at seconds of a camera, and tells what has changed.
func watch(t *testing.T, w *camerahealth.Watch, c *gatetest.Camera, from, to int, told func(second int, c camerahealth.Change)) {
	t.Helper()
	for i := from; i < to; i++ {
		look, ok := quality.Measure(c.Luma(i), nil)
		if !ok {
			t.Fatal("it cannot be measured")
		}
		for _, change := range w.Look(midnight.Add(time.Duration(i)*time.Second), &look) {
			told(i, change)
		}
	}
}

// TestNoFalseAlarm: a camera that sees well for a day has no condition, whatever there is to be
// seen.
func TestNoFalseAlarm(t *testing.T) {
	seconds := 24 * 3600
	if testing.Short() || raceDetector {
		seconds /= 24
	}
	for _, v := range gatetest.Healthy() {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			w := camerahealth.New(camerahealth.Default())
			watch(t, w, v.Open(1), 0, seconds, func(i int, c camerahealth.Change) {
				t.Errorf("second %d: %+v; %+v", i, c, w.State(midnight.Add(time.Duration(i)*time.Second)))
			})
		})
	}
}

// people returns a view in which all is well.
func people() gatetest.View {
	for _, v := range gatetest.Healthy() {
		if v.Name == "people" {
			return v
		}
	}
	panic("there is no such view")
}

// TestFaults: whatever goes wrong is told within half a minute, and nothing else is; and it is over
// soon after it has been mended.
func TestFaults(t *testing.T) {
	const from = 1200
	for _, f := range gatetest.Faults(from) {
		t.Run(f.Kind+"/"+f.Name, func(t *testing.T) {
			t.Parallel()
			w := camerahealth.New(camerahealth.Default())
			told := -1
			watch(t, w, f.Open(1), 0, from+120, func(i int, c camerahealth.Change) {
				t.Logf("second %d: %+v", i, c)
				switch {
				case i < from || c.Over || string(c.Condition) != f.Kind:
					t.Errorf("second %d: %+v", i, c)
				default:
					told = i - from
				}
			})
			if told < 0 || told > 30 {
				t.Errorf("it was told after %d seconds; %+v", told, w.State(midnight.Add((from+119)*time.Second)))
			}
			over := -1
			watch(t, w, people().Open(1), from+120, from+160, func(i int, c camerahealth.Change) {
				if over = i; !c.Over {
					t.Errorf("second %d: %+v", i, c)
				}
			})
			if over < 0 {
				t.Error("it is not over")
			}
		})
	}
}
