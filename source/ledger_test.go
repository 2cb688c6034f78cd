package source

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const step = 200 * time.Millisecond

func testGrid(t testing.TB) Grid {
	t.Helper()
	g, err := NewGrid(step)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGrid(t *testing.T) {
	g := testGrid(t)
	for _, tc := range []struct{ in, floor, ceil, nearest Slot }{
		{0, 0, 0, 0},
		{1, 0, 200, 0},
		{100, 0, 200, 200},
		{199, 0, 200, 200},
		{200, 200, 200, 200},
		{-1, -200, 0, 0},
	} {
		if got := g.Floor(tc.in); got != tc.floor {
			t.Errorf("Floor(%d) = %d, want %d", tc.in, got, tc.floor)
		}
		if got := g.Ceil(tc.in); got != tc.ceil {
			t.Errorf("Ceil(%d) = %d, want %d", tc.in, got, tc.ceil)
		}
		if got := g.Nearest(tc.in); got != tc.nearest {
			t.Errorf("Nearest(%d) = %d, want %d", tc.in, got, tc.nearest)
		}
	}
	if got, want := Slot(1767322445200).String(), "2026-01-02T02:54:05.200Z"; got != want {
		t.Errorf("String() = %s, want %s", got, want)
	}
	for _, d := range []time.Duration{0, 199 * time.Millisecond, 250*time.Millisecond + 1, 301 * time.Second} {
		if _, err := NewGrid(d); err == nil {
			t.Errorf("NewGrid(%v) succeeded", d)
		}
	}
}

func TestLedgerOutcomes(t *testing.T) {
	l := NewLedger(testGrid(t), 1000)
	l.Extend(2000) // slots 1000, 1200, 1400, 1600, 1800

	if !l.Take(1000) || l.Take(1000) {
		t.Error("a slot must be taken exactly once")
	}
	for _, s := range []Slot{800, 2000, 1001} {
		if l.Take(s) || l.Resolve(s, Published) {
			t.Errorf("slot %d is not one of the ledger's", s)
		}
	}
	if l.GiveUp(1000, NoMedia) {
		t.Error("a taken slot was given up")
	}
	if s, ok := l.Wanted(0); !ok || s != 1200 {
		t.Errorf("Wanted = %d, %v, want 1200", s, ok)
	}
	l.Resolve(1400, NoMedia)
	if l.Resolve(1400, Published) {
		t.Error("the second outcome of a slot was accepted")
	}
	l.Resolve(1200, NoMedia)
	if got := l.Stats().Cursor; got != 1000 {
		t.Errorf("cursor = %d, want 1000: the first slot has not ended", got)
	}
	l.Resolve(1000, Published)
	l.Resolve(1600, Undecodable)

	got := l.Stats()
	want := Stats{Expected: 5, Pending: 1, Start: 1000, Cursor: 1800, Newest: 1000}
	want.Ended = [outcomes]uint64{Published: 1, NoMedia: 2, Undecodable: 1}
	want.Gaps = [outcomes]uint64{NoMedia: 1, Undecodable: 1}
	want.GapTime = [outcomes]time.Duration{NoMedia: 2 * step, Undecodable: step}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("stats (-want +got):\n%s", d)
	}
	wantGaps := []Gap{
		{From: 1200, To: 1400, Slots: 2, Reason: NoMedia},
		{From: 1600, To: 1600, Slots: 1, Reason: Undecodable},
	}
	if d := cmp.Diff(wantGaps, l.TakeGaps()); d != "" {
		t.Errorf("gaps (-want +got):\n%s", d)
	}
	l.Resolve(1800, Undecodable)
	if d := cmp.Diff([]Gap{{From: 1800, To: 1800, Slots: 1, Reason: Undecodable}}, l.TakeGaps()); d != "" {
		t.Errorf("the rest of a gap (-want +got):\n%s", d)
	}
	if got := l.Stats().Gaps[Undecodable]; got != 1 {
		t.Errorf("a gap told in pieces counts as %d gaps", got)
	}
}

func TestGiveUpBefore(t *testing.T) {
	l := NewLedger(testGrid(t), 0)
	l.Extend(24 * 3600 * 1000) // a day
	l.Take(400)
	if got, want := l.GiveUpBefore(3600*1000, Stale), 3600*5-1; got != want {
		t.Errorf("gave up %d slots, want %d", got, want)
	}
	if got := l.Stats(); got.Cursor != 400 || got.Ended[Stale] != 3600*5-1 {
		t.Errorf("cursor %d, %d stale", got.Cursor, got.Ended[Stale])
	}
	l.Resolve(400, Published)
	if got := l.Stats().Cursor; got != 3600*1000 {
		t.Errorf("cursor = %d, want it after the hour", got)
	}
	if len(l.states) != 0 {
		t.Errorf("%d states are kept for nothing", len(l.states))
	}
}

// TestLedgerAddsUp does random things to a ledger and checks its invariant after
// each, against a plain map.
func TestLedgerAddsUp(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		l := NewLedger(testGrid(t), 0)
		model := map[Slot]Outcome{}
		end := Slot(0)
		for range 2000 {
			s := Slot(rng.IntN(300)) * 200
			o := Outcomes()[rng.IntN(len(Outcomes()))]
			switch rng.IntN(5) {
			case 0:
				end = max(end, s)
				l.Extend(s)
			case 1:
				l.Take(s)
			case 2:
				if l.GiveUp(s, o) {
					model[s] = o
				}
			default:
				if l.Resolve(s, o) {
					if _, twice := model[s]; twice {
						t.Fatalf("seed %d: slot %d ended twice", seed, s)
					}
					model[s] = o
				}
			}
			checkSum(t, l, end, model)
		}
	}
}

func checkSum(t *testing.T, l *Ledger, end Slot, model map[Slot]Outcome) {
	t.Helper()
	st := l.Stats()
	sum := st.Pending
	for _, n := range st.Ended {
		sum += n
	}
	if sum != st.Expected || st.Expected != uint64(end/200) || st.Pending != st.Expected-uint64(len(model)) {
		t.Fatalf("%+v does not add up: end %d, %d ended", st, end, len(model))
	}
	for s := Slot(0); s < end; s += 200 {
		if _, ended := model[s]; !ended {
			if st.Cursor != s {
				t.Fatalf("cursor is %d, the first open slot is %d", st.Cursor, s)
			}
			return
		}
	}
}
