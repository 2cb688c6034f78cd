package source

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestWithdraw: whatever state slots are in, those that are withdrawn are wanted again, and
// the sum holds.
func TestWithdraw(t *testing.T) {
	grid, err := NewGrid(MinInterval)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		start := SlotAt(time.Unix(1_700_000_000, 0))
		l := NewLedger(grid, start)
		l.Extend(grid.Step(start, 20))
		for range rng.IntN(40) {
			s := grid.Step(start, rng.IntN(20))
			switch rng.IntN(3) {
			case 0:
				l.Take(s)
			case 1:
				l.Resolve(s, Published)
			default:
				l.GiveUp(s, NoMedia)
			}
		}
		before := l.Stats()
		from := grid.Step(start, rng.IntN(24)-2)
		n := l.Withdraw(from)
		after := l.Stats()
		ended := uint64(0)
		for _, o := range Outcomes() {
			if before.Ended[o] != after.Ended[o] {
				t.Fatalf("%v: %d have become %d", o, before.Ended[o], after.Ended[o])
			}
			ended += after.Ended[o]
		}
		if after.Expected != ended+after.Pending || after.Expected != before.Expected+uint64(n) || after.Withdrawn != uint64(n) {
			t.Fatalf("withdrawing %d of %+v gave %+v", n, before, after)
		}
		for s := max(from, start); s < l.End(); s = grid.Step(s, 1) {
			if !l.Take(s) {
				t.Fatalf("slot %v is not wanted again", s)
			}
		}
		if g, some := l.NextGap(); some && g.To >= from {
			t.Fatalf("a gap up to %v is left after withdrawing from %v", g.To, from)
		}
		if from < start && after.Start != from || after.Newest >= from && from < l.End() {
			t.Fatalf("withdrawing from %v gave %+v", from, after)
		}
	}
}
