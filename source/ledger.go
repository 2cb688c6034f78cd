package source

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// taken is the state of a slot whose picture has arrived and is being worked on. It
// counts as pending, but is not asked for again.
const taken = outcomes

// A Ledger knows the outcome of every slot of one stream. At every instant
//
//	expected = published + unwatched + unchanged + skipped + no_media + media_error +
//	           undecodable + stale + dropped + pending
//
// It has no clock and does no I/O: [Ledger.Extend] or [Ledger.Follow] tells it how far
// time has come. It keeps runs of slots rather than slots, so that its memory, and the time that each
// method takes, do not depend on how long a backlog is. Its methods are safe for
// concurrent use.
type Ledger struct {
	grid Grid

	mu     sync.Mutex
	start  Slot
	live   bool // begins at the present: see Begin
	cursor Slot // the first slot that has not ended
	end    Slot // the first slot that is not expected yet
	// runs hold the states of the slots from cursor up to end. Neighbours differ, and
	// the slots of the first one have not ended.
	runs     []run
	expected uint64
	ended    [outcomes]uint64
	newest   Slot // the newest slot whose frame came, 0 before the first

	rewound   time.Duration
	rewinds   uint64
	withdrawn uint64

	remember time.Duration // see Remember
	lost     []lostRun     // in order
	late     uint64

	passed func(from Slot, n int, o Outcome) // see Watch

	open     Outcome // the reason of the gap that ends at the cursor; Pending outside of gaps
	gaps     [outcomes]uint64
	gapSlots [outcomes]uint64
	untold   []Gap // before the cursor, not announced yet, in order
}

// A run is slots in a row that are in the same state. It ends where the next run begins,
// the last one at the end of the ledger.
type run struct {
	from  Slot
	state Outcome
}

// Stats are the figures of a ledger at one instant.
type Stats struct {
	// Expected counts the slots between the start and now; Pending those of them that
	// have not ended.
	Expected, Pending uint64
	// Ended counts the slots by outcome; the entry of Pending is 0.
	Ended [outcomes]uint64
	// Gaps counts runs of slots that were lost, see [Outcome.Lost], with the same outcome,
	// and GapTime is how long they were.
	Gaps    [outcomes]uint64
	GapTime [outcomes]time.Duration
	// Start is the ledger's first slot, Cursor the first that has not ended.
	Start, Cursor Slot
	// Told is the first slot that has not ended, or belongs to a gap that has not been
	// announced: see [Ledger.Told].
	Told Slot
	// Newest is the newest slot that was published, unwatched or unchanged, 0 before the first:
	// what was skipped makes nothing newer.
	Newest Slot
	// Rewound is by how much [Ledger.Follow] and [Ledger.Begin] have taken the ledger back,
	// in all.
	Rewound time.Duration
	// Rewinds is how often the cursor may have been taken back, by whatever.
	Rewinds uint64
	// Withdrawn counts the slots that had ended and were expected again: see
	// [Ledger.Withdraw].
	Withdrawn uint64
	// Late counts the slots that ended as NoMedia and whose picture turned up later: see
	// [Ledger.Amend].
	Late uint64
}

// NewLedger returns a ledger whose first slot is the first at or after start.
func NewLedger(grid Grid, start Slot) *Ledger {
	start = grid.Ceil(start)
	return &Ledger{grid: grid, start: start, cursor: start, end: start}
}

// Grid returns the grid of the ledger's slots.
func (l *Ledger) Grid() Grid { return l.grid }

// Watch sets a function that is called whenever the cursor passes slots: with the first
// of n slots in a row, and how all of them ended. Every slot is reported once, in order,
// except after [Ledger.Follow] or [Ledger.Withdraw] has gone back.
// The function is called while the ledger is locked, so it must be quick and must not
// use the ledger. Watch is called before anything else is done with the ledger.
func (l *Ledger) Watch(passed func(from Slot, n int, o Outcome)) { l.passed = passed }

// Extend makes every slot before end expected. It never takes one back.
func (l *Ledger) Extend(end Slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.extend(l.grid.Ceil(end))
}

func (l *Ledger) extend(end Slot) {
	if end <= l.end {
		return
	}
	l.expected += uint64(l.grid.Count(l.end, end))
	if last := len(l.runs) - 1; last < 0 || l.runs[last].state != Pending {
		l.runs = append(l.runs, run{l.end, Pending})
	}
	l.end = end
}

// End returns the first slot that is not expected yet.
func (l *Ledger) End() Slot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// Take claims a slot whose picture has arrived, so that it is not asked for again. It
// returns false for a slot that is not expected, off the grid, taken already, or ended:
// discard such a picture.
func (l *Ledger) Take(s Slot) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := l.find(s)
	if !ok || l.runs[i].state != Pending {
		return false
	}
	l.set(i, s, l.grid.Step(s, 1), taken)
	l.tidy()
	return true
}

// Resolve ends a slot. It returns false, and changes nothing, for a slot that is not
// expected or has ended already: the first outcome stands.
func (l *Ledger) Resolve(s Slot, o Outcome) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := l.find(s)
	if !ok || l.runs[i].ended() {
		return false
	}
	l.finish(i, s, l.grid.Step(s, 1), o)
	l.tidy()
	return true
}

// GiveUp ends a slot that nobody has taken. It returns false, and changes nothing, if the
// slot has been taken or has ended.
func (l *Ledger) GiveUp(s Slot, o Outcome) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := l.find(s)
	if !ok || l.runs[i].state != Pending {
		return false
	}
	l.finish(i, s, l.grid.Step(s, 1), o)
	l.tidy()
	return true
}

// GiveUpBefore ends every slot before end that is neither taken nor ended, and returns
// how many there were.
func (l *Ledger) GiveUpBefore(end Slot, o Outcome) int { return l.GiveUpWithin(math.MinInt64, end, o) }

// GiveUpWithin ends every slot from one up to but not including end that is neither taken
// nor ended, and returns how many there were.
func (l *Ledger) GiveUpWithin(from, end Slot, o Outcome) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	first, end := l.grid.Ceil(max(l.cursor, from)), min(l.grid.Ceil(end), l.end)
	n := 0
	for i := 0; i < len(l.runs) && l.runs[i].from < end; i++ {
		if from, to := max(first, l.runs[i].from), min(l.runEnd(i), end); l.runs[i].state == Pending && from < to {
			l.finish(i, from, to, o)
			n += l.grid.Count(from, to)
		}
	}
	l.tidy()
	return n
}

// Wanted returns the first slot at or after from that is neither taken nor ended, and
// false if there is none.
func (l *Ledger) Wanted(from Slot) (Slot, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from = max(l.cursor, l.grid.Ceil(from))
	i, ok := l.find(from)
	if !ok {
		return 0, false
	}
	for ; i < len(l.runs); i++ {
		if l.runs[i].state == Pending {
			return max(from, l.runs[i].from), true
		}
	}
	return 0, false
}

// Stats returns the figures, all of one instant.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Counted independently, so that the sum can be checked.
	pending := uint64(0)
	for i, r := range l.runs {
		if !r.ended() {
			pending += uint64(l.grid.Count(r.from, l.runEnd(i)))
		}
	}
	st := Stats{
		Expected: l.expected, Pending: pending, Ended: l.ended,
		Gaps: l.gaps, Start: l.start, Cursor: l.cursor, Told: l.toldTo(), Newest: l.newest, Rewound: l.rewound, Rewinds: l.rewinds,
		Withdrawn: l.withdrawn, Late: l.late,
	}
	for o := range l.ended {
		st.GapTime[o] = time.Duration(l.gapSlots[o]) * l.grid.Interval()
	}
	return st
}

func (r run) ended() bool { return r.state != Pending && r.state != taken }

// runEnd returns the first slot after run i.
func (l *Ledger) runEnd(i int) Slot {
	if i+1 < len(l.runs) {
		return l.runs[i+1].from
	}
	return l.end
}

// find returns the index of the run that holds s, false where s is off the grid or
// outside of [cursor, end).
func (l *Ledger) find(s Slot) (int, bool) {
	if s < l.cursor || s >= l.end || s != l.grid.Floor(s) {
		return 0, false
	}
	i, exact := slices.BinarySearchFunc(l.runs, s, func(r run, s Slot) int { return int(r.from - s) })
	if !exact {
		i--
	}
	return i, true
}

// finish ends the slots of [from, to), which belong to run i.
func (l *Ledger) finish(i int, from, to Slot, o Outcome) {
	if o == Pending || o >= outcomes {
		panic(fmt.Sprintf("source: a slot cannot end as %v", o))
	}
	l.set(i, from, to, o)
	l.ended[o] += uint64(l.grid.Count(from, to))
	if !o.Lost() && o != Skipped {
		l.newest = max(l.newest, l.grid.Step(to, -1))
	}
}

// set puts the slots of [from, to), which belong to run i, into a state.
func (l *Ledger) set(i int, from, to Slot, state Outcome) {
	old := l.runs[i]
	parts := make([]run, 0, 3)
	if old.from < from {
		parts = append(parts, old)
	}
	parts = append(parts, run{from, state})
	if to < l.runEnd(i) {
		parts = append(parts, run{to, old.state})
	}
	l.runs = slices.Replace(l.runs, i, i+1, parts...)
}

// tidy merges neighbouring runs of the same state, and moves the cursor over those that
// have ended. It notes the gaps on the way: only here are slots seen in order.
func (l *Ledger) tidy() {
	l.runs = slices.CompactFunc(l.runs, func(a, b run) bool { return a.state == b.state })
	n := 0
	for n < len(l.runs) && l.runs[n].ended() {
		l.pass(l.runs[n].from, l.runEnd(n), l.runs[n].state)
		n++
	}
	l.runs = slices.Delete(l.runs, 0, n)
}

// pass moves the cursor over the slots of [from, to), which ended as o.
func (l *Ledger) pass(from, to Slot, o Outcome) {
	n := l.grid.Count(from, to)
	l.cursor = to
	if l.passed != nil {
		l.passed(from, n, o)
	}
	switch {
	case o == Skipped: // it says nothing about whether there was something: a gap goes on
		return
	case !o.Lost():
		l.open = Pending
		return
	}
	if o == NoMedia {
		l.lose(from, to)
	}
	l.gapSlots[o] += uint64(n)
	if o != l.open {
		l.gaps[o]++
		l.open = o
	}
	l.noteGap(Gap{From: from, To: l.grid.Step(to, -1), Slots: n, Reason: o})
}
