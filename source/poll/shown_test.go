package poll

import (
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// TestShown has an answer to a window from 0 s on in which media begins at 400 ms and ends at
// 1 s, with a picture that failed between.
func TestShown(t *testing.T) {
	a := newAnswer(Window{Start: 0, End: 2000, Interval: 200 * time.Millisecond}, 0)
	for _, s := range []source.Slot{400, 600, 1000} {
		a.media[s/200] = true
	}
	for name, tc := range map[string]struct {
		page   int
		starts []source.Slot // after which fragments start
	}{
		"one page":                       {25, []source.Slot{200, 1000}},
		"media begins where a page does": {2, nil},
		"media ends where a page does":   {6, []source.Slot{200}},
	} {
		var m shown
		m.add(a, tc.page)
		for s := source.Slot(0); s < 2000; s += 200 {
			want := false
			for _, start := range tc.starts {
				want = want || start == s
			}
			if got := m.startsAfter(s); got != want {
				t.Errorf("%s: a fragment starts after %d: %v", name, s, got)
			}
		}
		// A window that begins amid the media has it, unless it belongs to a fragment before.
		for _, lack := range []struct {
			from, s source.Slot
			want    bool
		}{
			{400, 800, true}, {600, 800, false}, {400, 400, false}, {1000, 1400, false},
		} {
			if got := m.lacks(lack.from, lack.s); got != lack.want {
				t.Errorf("%s: a window from %d on lacks media before %d: %v", name, lack.from, lack.s, got)
			}
		}
	}
}

// TestShownIsBounded has a stream with media in every other slot, in any order.
func TestShownIsBounded(t *testing.T) {
	var m shown
	for i := range source.Slot(1000) {
		m.addMedia((i*7919%1000)*400, 200*time.Millisecond)
		m.addStart((i * 7919 % 1000) * 400)
	}
	if len(m.runs) > maxShown || len(m.starts) > maxShown {
		t.Errorf("%d runs and %d starts are remembered", len(m.runs), len(m.starts))
	}
	m = shown{}
	for i := range source.Slot(1000) { // back and forth
		m.addMedia((500+(i+1)/2*(1-2*(i%2)))*200, 200*time.Millisecond)
	}
	if len(m.runs) != 1 || m.runs[0].last.Sub(m.runs[0].first) != 999*200*time.Millisecond {
		t.Errorf("media without a hole is %v", m.runs)
	}
}
