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
	want := Stats{Expected: 5, Pending: 1, Start: 1000, Cursor: 1800, Told: 1200, Newest: 1000}
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
	if d := cmp.Diff(wantGaps, tellGaps(l)); d != "" {
		t.Errorf("gaps (-want +got):\n%s", d)
	}
	l.Resolve(1800, Undecodable)
	if d := cmp.Diff([]Gap{{From: 1800, To: 1800, Slots: 1, Reason: Undecodable}}, tellGaps(l)); d != "" {
		t.Errorf("the rest of a gap (-want +got):\n%s", d)
	}
	if got := l.Stats().Gaps[Undecodable]; got != 1 {
		t.Errorf("a gap told in pieces counts as %d gaps", got)
	}
}

// tellGaps returns the gaps that were not announced, and marks them as announced.
func tellGaps(l *Ledger) []Gap {
	var gaps []Gap
	for g, ok := l.NextGap(); ok; g, ok = l.NextGap() {
		gaps = append(gaps, g)
		l.Told(g)
	}
	return gaps
}

// TestTold announces a gap that grows in the meantime.
func TestTold(t *testing.T) {
	l := NewLedger(testGrid(t), 0)
	l.Extend(60 * 1000)
	told := func(want Slot) {
		t.Helper()
		if got := l.Stats().Told; got != want {
			t.Errorf("told up to %d, want %d", got, want)
		}
	}
	told(0)
	l.Resolve(0, Published)
	told(200)
	l.GiveUpBefore(1000, NoMedia)
	told(200)
	g, ok := l.NextGap()
	if want := (Gap{From: 200, To: 800, Slots: 4, Reason: NoMedia}); !ok || g != want {
		t.Fatalf("gap %+v, %v, want %+v", g, ok, want)
	}
	l.GiveUpBefore(2000, NoMedia)
	l.GiveUpBefore(3000, Stale)
	l.Told(g)
	told(1000)
	l.Told(g) // again: nothing more
	told(1000)
	want := []Gap{
		{From: 1000, To: 1800, Slots: 5, Reason: NoMedia},
		{From: 2000, To: 2800, Slots: 5, Reason: Stale},
	}
	if d := cmp.Diff(want, tellGaps(l)); d != "" {
		t.Errorf("gaps (-want +got):\n%s", d)
	}
	told(3000)
	l.Resolve(3200, NoMedia) // behind the cursor's slot
	told(3000)
	if g, ok := l.NextGap(); ok {
		t.Errorf("gap %+v lies after a pending slot", g)
	}
}

// TestUntoldGapsAreBounded has nobody ask for the gaps.
func TestUntoldGapsAreBounded(t *testing.T) {
	l := NewLedger(testGrid(t), 0)
	const gaps = 3000
	l.Extend(2 * gaps * 200)
	for i := range Slot(gaps) {
		l.Resolve(2*i*200, NoMedia)
		l.Resolve((2*i+1)*200, Published)
	}
	const first = 2 * (gaps - maxUntold) * 200
	if got := l.Stats().Told; got != first {
		t.Errorf("told up to %d, want %d", got, first)
	}
	if got := tellGaps(l); len(got) != maxUntold || got[0].From != first {
		t.Errorf("%d gaps from %d on", len(got), got[0].From)
	}
}

// TestLongBacklog begins in 1970: anything that takes time for each slot would take minutes.
func TestLongBacklog(t *testing.T) {
	l := NewLedger(testGrid(t), 0)
	passed := 0
	l.Watch(func(_ Slot, n int, _ Outcome) { passed += n })
	const now, year = Slot(1767323040000), Slot(365 * 24 * 3600 * 1000)
	l.Extend(now)
	l.Take(400)
	l.Take(10 * year)
	for range 1000 {
		l.GiveUpBefore(50*year, NoMedia)
		if s, ok := l.Wanted(0); !ok || s != 50*year {
			t.Fatalf("Wanted = %d, %v", s, ok)
		}
		l.Stats()
	}
	l.Resolve(400, Published)
	l.Resolve(10*year, Published)
	want := Stats{
		Expected: uint64(now / 200), Pending: uint64((now - 50*year) / 200),
		Cursor: 50 * year, Newest: 10 * year,
	}
	lost := 50*year/200 - 2
	want.Ended = [outcomes]uint64{Published: 2, NoMedia: uint64(lost)}
	want.Gaps = [outcomes]uint64{NoMedia: 3}
	want.GapTime = [outcomes]time.Duration{NoMedia: time.Duration(lost) * step}
	if d := cmp.Diff(want, l.Stats()); d != "" {
		t.Errorf("stats (-want +got):\n%s", d)
	}
	if passed != int(lost)+2 {
		t.Errorf("%d slots were passed, want %d", passed, lost+2)
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
	if len(l.runs) != 1 {
		t.Errorf("%d runs are kept for what is pending", len(l.runs))
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

// TestSkippedIsNoLoss: slots left out on purpose add up with the others, do not make the stream
// look fresh, and neither begin nor end a gap.
func TestSkippedIsNoLoss(t *testing.T) {
	g := testGrid(t)
	l := NewLedger(g, 0)
	l.Extend(g.Step(0, 8))
	for i, o := range []Outcome{Published, Skipped, NoMedia, Skipped, NoMedia, Skipped, Skipped} {
		l.Resolve(g.Step(0, i), o)
	}
	st := l.Stats()
	if st.Expected != 8 || st.Pending != 1 || st.Ended[Skipped] != 4 || st.Ended[NoMedia] != 2 || st.Ended[Published] != 1 {
		t.Errorf("the ledger does not add up: %+v", st)
	}
	if st.Newest != 0 || st.Cursor != g.Step(0, 7) {
		t.Errorf("newest %v, cursor %v", st.Newest, st.Cursor)
	}
	if st.Gaps[NoMedia] != 1 || st.Gaps[Skipped] != 0 || st.GapTime[NoMedia] != 2*step {
		t.Errorf("gaps %v, of %v", st.Gaps, st.GapTime)
	}
}
