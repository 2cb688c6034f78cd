package poll

import (
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

func TestPlan(t *testing.T) {
	const sec = source.Slot(1000)
	for _, tc := range []struct {
		name       string
		interval   time.Duration
		ended      [][2]source.Slot // from, to (exclusive)
		need       need
		start, end source.Slot
		none       bool
	}{
		{name: "a page full, one slot before", need: need{horizon: 60 * sec}, start: -200, end: 4600},
		{
			name: "a long overlap makes a long window", need: need{horizon: 60 * sec, overlap: 2 * time.Second},
			start: -2 * sec, end: 8 * sec,
		},
		{
			name: "long fragments make a long window, of four pages", need: need{horizon: 60 * sec, fragment: 8 * time.Second},
			start: -200, end: 99*200 - 200,
		},
		{
			name: "not beyond the horizon", ended: [][2]source.Slot{{0, 50 * sec}},
			need: need{horizon: 53*sec + 199}, start: 50*sec - 200, end: 53 * sec,
		},
		{
			name: "never shorter than a second", ended: [][2]source.Slot{{0, 50 * sec}},
			need: need{horizon: 50 * sec}, start: 49 * sec, end: 50 * sec,
		},
		{
			name: "nothing wanted", ended: [][2]source.Slot{{0, 60 * sec}},
			need: need{horizon: 60 * sec}, none: true,
		},
		{name: "the horizon lies before", ended: [][2]source.Slot{{0, 50 * sec}}, need: need{horizon: 49 * sec}, none: true},
		{
			name: "a small hole is bridged", ended: [][2]source.Slot{{0, 10 * sec}, {10*sec + 200, 10*sec + 400}},
			need: need{horizon: 11 * sec}, start: 10*sec - 200, end: 11 * sec,
		},
		{
			name: "a large one is not", ended: [][2]source.Slot{{0, 10 * sec}, {10*sec + 200, 13 * sec}},
			need: need{horizon: 14 * sec}, start: 9 * sec, end: 10 * sec,
		},
		{
			name: "from", need: need{from: 30 * sec, horizon: 60 * sec}, start: 30*sec - 200, end: 30*sec + 4600,
		},
		{
			name: "the longest range", interval: 60 * time.Second,
			need: need{horizon: 3600 * sec, overlap: 70 * time.Second}, start: -120 * sec, end: 0,
		},
		{
			name: "the longest interval", interval: source.MaxInterval,
			need: need{horizon: 3600 * sec}, start: -300 * sec, end: 0,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.interval == 0 {
				tc.interval = step
			}
			grid, err := source.NewGrid(tc.interval)
			if err != nil {
				t.Fatal(err)
			}
			l := source.NewLedger(grid, 0)
			l.Extend(60 * sec)
			for _, r := range tc.ended {
				for s := r[0]; s < r[1]; s = grid.Step(s, 1) {
					l.Resolve(s, source.Published)
				}
			}
			w, ok := plan(l, tc.need)
			if ok == tc.none {
				t.Fatalf("plan = %+v, %v", w, ok)
			}
			if w.Start != tc.start || w.End != tc.end {
				t.Errorf("window %d to %d, want %d to %d", w.Start, w.End, tc.start, tc.end)
			}
		})
	}
}
