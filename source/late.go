package source

import (
	"slices"
	"time"
)

// maxLost bounds the runs of lost slots that a ledger remembers.
const maxLost = 1024

// A lostRun is slots in a row that ended as NoMedia: from From up to and including To.
type lostRun struct{ from, to Slot }

// Remember makes the ledger remember for so long which slots ended as [NoMedia], so that
// [Ledger.Amend] can tell that a picture has turned up after all. Remember is called before
// anything ends.
func (l *Ledger) Remember(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remember = d
}

// Lost returns the first slot at or after from, and before end, that is remembered to have
// ended as [NoMedia], and the last of those that follow it without a gap; false if there is
// none.
func (l *Ledger) Lost(from, end Slot) (first, last Slot, some bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.lost {
		if first, last := max(r.from, l.grid.Ceil(from)), min(r.to, l.grid.Ceil(end)-l.grid.step); first <= last {
			return first, last, true
		}
	}
	return 0, 0, false
}

// Amend claims a slot that ended as [NoMedia], and whose picture has turned up. It returns
// false if the slot is not remembered, or was claimed before. The slot's outcome, which
// may have been announced, stays: [Stats.Late] counts such slots.
func (l *Ledger) Amend(s Slot) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.lost, func(r lostRun) bool { return r.from <= s && s <= r.to })
	if i < 0 || s != l.grid.Floor(s) {
		return false
	}
	var rest []lostRun
	for _, r := range []lostRun{{l.lost[i].from, l.grid.Step(s, -1)}, {l.grid.Step(s, 1), l.lost[i].to}} {
		if r.from <= r.to {
			rest = append(rest, r)
		}
	}
	l.lost = slices.Replace(l.lost, i, i+1, rest...)
	l.late++
	return true
}

// lose remembers the slots of [from, to), which the cursor has passed.
func (l *Ledger) lose(from, to Slot) {
	if l.remember == 0 {
		return
	}
	l.forget(from)
	if n := len(l.lost); n > 0 && l.grid.Step(l.lost[n-1].to, 1) == from {
		l.lost[n-1].to = l.grid.Step(to, -1)
	} else {
		l.lost = append(l.lost, lostRun{from, l.grid.Step(to, -1)})
	}
	oldest := l.grid.Ceil(to.Add(-l.remember))
	l.lost = slices.DeleteFunc(l.lost, func(r lostRun) bool { return r.to < oldest })
	if len(l.lost) > 0 {
		l.lost[0].from = max(l.lost[0].from, oldest)
	}
	l.lost = slices.Delete(l.lost, 0, max(len(l.lost)-maxLost, 0))
}

// forget drops the slots from one on, which are going to end again.
func (l *Ledger) forget(from Slot) {
	l.lost = slices.DeleteFunc(l.lost, func(r lostRun) bool { return r.from >= from })
	if n := len(l.lost); n > 0 {
		l.lost[n-1].to = min(l.lost[n-1].to, l.grid.Step(from, -1))
	}
}
