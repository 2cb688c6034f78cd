package source

import (
	"testing"
	"time"
)

// TestAmend: slots that ended without media can be claimed once, as long as they are
// remembered, and their outcome stays.
func TestAmend(t *testing.T) {
	grid, err := NewGrid(time.Second)
	if err != nil {
		t.Fatal(err)
	}
	l := NewLedger(grid, 0)
	l.Remember(time.Minute)
	l.Extend(10_000)
	l.GiveUpWithin(2_000, 6_000, NoMedia)
	l.GiveUpWithin(6_000, 8_000, Stale)
	if _, _, some := l.Lost(0, 10_000); some {
		t.Error("slots are lost before the cursor has passed them")
	}
	l.GiveUpBefore(2_000, MediaError)
	if first, last, some := l.Lost(0, 10_000); first != 2_000 || last != 5_000 || !some {
		t.Errorf("lost: %v to %v", first, last)
	}
	if first, last, some := l.Lost(3_000, 5_000); first != 3_000 || last != 4_000 || !some {
		t.Errorf("lost of a part: %v to %v", first, last)
	}
	for s, want := range map[Slot]bool{1_000: false, 3_000: true, 3_500: false, 6_000: false, 9_000: false} {
		if got := l.Amend(s); got != want {
			t.Errorf("%d: %t", s, got)
		}
		if l.Amend(s) {
			t.Errorf("%d was claimed twice", s)
		}
	}
	if first, last, _ := l.Lost(0, 10_000); first != 2_000 || last != 2_000 {
		t.Errorf("before the claimed one: %v to %v", first, last)
	}
	if first, last, _ := l.Lost(3_000, 10_000); first != 4_000 || last != 5_000 {
		t.Errorf("after the claimed one: %v to %v", first, last)
	}
	if st := l.Stats(); st.Late != 1 || st.Ended[NoMedia] != 4 || st.Pending != 2 {
		t.Errorf("%+v", st)
	}
	l.Extend(65_000)
	l.GiveUpBefore(65_000, NoMedia)
	if first, _, some := l.Lost(0, 65_000); first != 5_000 || !some {
		t.Errorf("after a minute the first lost slot is %v", first)
	}
}

// TestGiveUpWithin: a range in the middle ends, and nothing else does.
func TestGiveUpWithin(t *testing.T) {
	grid, err := NewGrid(time.Second)
	if err != nil {
		t.Fatal(err)
	}
	l := NewLedger(grid, 0)
	l.Extend(10_000)
	l.Take(4_000)
	if n := l.GiveUpWithin(2_500, 7_000, NoMedia); n != 3 {
		t.Errorf("%d slots were given up", n)
	}
	for s, want := range map[Slot]Slot{0: 0, 2_000: 2_000, 3_000: 7_000, 5_000: 7_000, 8_000: 8_000} {
		if got, ok := l.Wanted(s); got != want || !ok {
			t.Errorf("from %v on %v is wanted, not %v", s, got, want)
		}
	}
}
