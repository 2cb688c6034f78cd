package source

import (
	"slices"
	"time"
)

// backBy is how far time has to go back for a ledger to follow it. The callers of
// [Ledger.Follow] may have looked at the clock some seconds ago.
const backBy = 10 * time.Second

// Follow brings the ledger up to the present: every slot up to now is expected, but none
// at or after to, unless that is 0.
//
// If the ledger reaches more than ten seconds beyond now, the clock was wrong before, and
// what has not been yet is taken back: a pending slot is not expected any more, and one
// that ended without a picture is expected again when its time comes, and counts again. A
// slot whose picture was published, or is being worked on, stays as it is, and so do those
// before it. [Stats.Rewound] tells of it.
func (l *Ledger) Follow(now, to Slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.grid.Ceil(now + 1)
	if to != 0 {
		end = min(end, l.grid.Ceil(to))
	}
	if l.end.Sub(end) > backBy {
		l.rewind(end)
	}
	l.extend(end)
}

// Begin makes the ledger begin at another slot, the first at or after start, which is the
// present: should the clock turn out to be wrong, the beginning goes back with it. It does
// nothing and returns false if a slot was taken or has ended already.
func (l *Ledger) Begin(start Slot) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cursor != l.start || len(l.runs) > 1 || len(l.runs) == 1 && l.runs[0].state != Pending {
		return false
	}
	start = l.grid.Ceil(start)
	if start < l.start {
		l.rewound += l.start.Sub(start)
		l.rewinds++
	}
	l.expected -= uint64(l.grid.Count(l.cursor, l.end))
	l.runs, l.live = nil, true
	l.start, l.cursor, l.end = start, start, start
	return true
}

// rewind takes back the slots from one on, except those up to the last with a picture.
func (l *Ledger) rewind(from Slot) {
	if !l.live {
		from = max(from, l.start)
	}
	if l.newest != 0 {
		from = max(from, l.grid.Step(l.newest, 1))
	}
	for i, r := range l.runs {
		if r.state == taken {
			from = max(from, l.runEnd(i))
		}
	}
	if from >= l.end {
		return
	}
	keep := 0
	for i, r := range l.runs {
		if r.from < from {
			keep++
		}
		if r.state == Pending {
			l.expected -= uint64(l.grid.Count(max(r.from, from), l.runEnd(i)))
		}
	}
	l.runs = l.runs[:keep]
	l.rewound += l.end.Sub(from)
	l.rewinds++
	l.end = from
	if l.cursor > from {
		l.cursor, l.open = from, Pending
		l.forgetGaps(from)
		l.forget(from)
	}
	l.start = min(l.start, from)
}

// forgetGaps drops the slots from one on from the gaps that have not been announced.
func (l *Ledger) forgetGaps(from Slot) {
	l.untold = slices.DeleteFunc(l.untold, func(g Gap) bool { return g.From >= from })
	if n := len(l.untold); n > 0 && l.untold[n-1].To >= from {
		last := &l.untold[n-1]
		last.To, last.Slots = l.grid.Step(from, -1), l.grid.Count(last.From, from)
	}
}
