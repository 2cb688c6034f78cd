package camerahealth_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/camerahealth"
	"github.com/cvfeeder/cvfeeder/transform/gate/gatetest"
	"github.com/cvfeeder/cvfeeder/transform/quality"
)

var midnight = time.Unix(1_700_006_400, 0)

// watch has a watch look at seconds of a camera, step apart, and tells what has changed.
func watch(t *testing.T, w *camerahealth.Watch, c *gatetest.Camera, from, to, step int, told func(second int, c camerahealth.Change)) {
	t.Helper()
	for i := from; i < to; i += step {
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
		seconds /= 96
	}
	for _, v := range gatetest.Healthy() {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			w := camerahealth.New(camerahealth.Default())
			watch(t, w, v.Open(1), 0, seconds, 1, func(i int, c camerahealth.Change) {
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
	const from = 300
	for _, f := range gatetest.Faults(from) {
		for _, step := range []int{1, 3} { // 3 is for frames that are a second apart
			if step > 1 && raceDetector {
				continue // it takes too long
			}
			t.Run(fmt.Sprintf("%s/%s/%d", f.Kind, f.Name, step), func(t *testing.T) {
				t.Parallel()
				w := camerahealth.New(camerahealth.Default())
				told := -1
				watch(t, w, f.Open(1), 0, from+120, step, func(i int, c camerahealth.Change) {
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
				watch(t, w, people().Open(1), from+120, from+180, step, func(i int, c camerahealth.Change) {
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
}

// TestRelearned: a view to which the camera was turned for good becomes the usual one.
func TestRelearned(t *testing.T) {
	o := camerahealth.Default()
	o.Relearn = 5 * time.Minute
	for _, f := range gatetest.Faults(60) {
		if f.Kind != "turned" {
			continue
		}
		var all []camerahealth.Change
		w := camerahealth.New(o)
		watch(t, w, f.Open(1), 0, 900, 1, func(_ int, c camerahealth.Change) { all = append(all, c) })
		if len(all) != 2 || all[0].Over || !all[1].Relearned || all[1].At.Sub(all[0].Since) != o.Relearn {
			t.Errorf("%s: %+v", f.Name, all)
		}
		if s := w.State(midnight.Add(900 * time.Second)); s.Similarity < 0.6 || len(s.Conditions) > 0 {
			t.Errorf("%s: %+v", f.Name, s)
		}
	}
}

// TestOff: what is turned off is not told, and nothing else takes its place.
func TestOff(t *testing.T) {
	for _, f := range gatetest.Faults(60) {
		w := camerahealth.New(camerahealth.Options{Every: time.Second})
		watch(t, w, f.Open(1), 0, 120, 1, func(i int, c camerahealth.Change) { t.Errorf("%s, second %d: %+v", f.Name, i, c) })
	}
}

// TestUnknown: before the first picture, and some time after the last one, nothing is known.
func TestUnknown(t *testing.T) {
	w := camerahealth.New(camerahealth.Default())
	if s := w.State(midnight); s.Known || !s.At.IsZero() {
		t.Errorf("before the first: %+v", s)
	}
	watch(t, w, people().Open(1), 0, 2, 1, func(int, camerahealth.Change) {})
	if s := w.State(midnight.Add(31 * time.Second)); !s.Known || s.Mean < 50 {
		t.Errorf("after half a minute: %+v", s)
	}
	if w.State(midnight.Add(32 * time.Second)).Known {
		t.Error("it is known for longer")
	}
}
