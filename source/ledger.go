package source

import (
	"fmt"
	"sync"
	"time"
)

// maxGaps bounds the gaps that a ledger keeps for [Ledger.TakeGaps]: a ledger
// that nobody asks must not grow.
const maxGaps = 1024

// taken is the state of a slot whose picture has arrived and is on its way. It
// counts as pending, but is not asked for again.
const taken = outcomes

// A Ledger knows the outcome of every slot of one stream. At every instant
//
//	expected = published + no_media + media_error + undecodable + stale + dropped + pending
//
// It has no clock and does no I/O: [Ledger.Extend] tells it how far time has
// come. It keeps a state only for slots between the cursor and the last one
// touched, so a long backlog costs no memory. Its methods may be called
// concurrently.
type Ledger struct {
	grid Grid

	start Slot

	mu     sync.Mutex
	cursor Slot // the first slot that has not ended
	end    Slot // the first slot that is not expected yet
	// states are those of the slots from cursor on; slots beyond its length are
	// pending.
	states   []Outcome
	expected uint64
	ended    [outcomes]uint64
	newest   Slot // the newest published slot, 0 before the first

	passed func(Slot, Outcome) // see Watch

	open     Outcome // the reason of the gap that ends at the cursor; Pending outside of gaps
	gaps     [outcomes]uint64
	gapSlots [outcomes]uint64
	unread   []Gap
}

// A Gap is a run of slots without a delivered picture, for one reason.
type Gap struct {
	// From and To are its first and last slot.
	From, To Slot
	// Slots is the number of slots.
	Slots int
	// Reason is the outcome of all of them.
	Reason Outcome
}

// Stats are the figures of a ledger at one instant.
type Stats struct {
	// Expected counts the slots between the start and now; Pending those of them
	// that have not ended.
	Expected, Pending uint64
	// Ended counts the slots by outcome; the entry of Pending is 0.
	Ended [outcomes]uint64
	// Gaps counts runs of slots that ended in the same outcome other than
	// Published, and GapTime is how long they were.
	Gaps    [outcomes]uint64
	GapTime [outcomes]time.Duration
	// Start is the ledger's first slot, Cursor the first that has not ended.
	Start, Cursor Slot
	// Newest is the newest published slot, 0 before the first.
	Newest Slot
}

// NewLedger returns a ledger whose first slot is the first at or after start.
func NewLedger(grid Grid, start Slot) *Ledger {
	start = grid.Ceil(start)
	return &Ledger{grid: grid, start: start, cursor: start, end: start}
}

// Grid returns the grid of the ledger's slots.
func (l *Ledger) Grid() Grid { return l.grid }

// Watch has passed called with every slot that the cursor passes and how it ended:
// in order, each once. It is called while the ledger is locked, so it must be quick
// and leave the ledger alone. Watch comes before any other use of the ledger.
func (l *Ledger) Watch(passed func(Slot, Outcome)) { l.passed = passed }

// Extend makes every slot before end expected. It never takes one back.
func (l *Ledger) Extend(end Slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end = l.grid.Ceil(end)
	if end > l.end {
		l.expected += uint64(l.grid.Count(l.end, end))
		l.end = end
	}
}

// End returns the first slot that is not expected yet.
func (l *Ledger) End() Slot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// Take claims a slot whose picture has arrived, so that it is not asked for
// again. It returns false for a slot that is not expected, off the grid, taken
// already, or ended: such a picture is to be thrown away.
func (l *Ledger) Take(s Slot) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.set(s, taken)
}

// Resolve ends a slot. It returns false, and changes nothing, for a slot that is
// not expected or has ended already: the first outcome stands.
func (l *Ledger) Resolve(s Slot, o Outcome) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.resolve(s, o)
}

// GiveUp ends a slot that nobody has taken. It returns false, and changes
// nothing, where the slot's picture is on its way, or the slot has ended.
func (l *Ledger) GiveUp(s Slot, o Outcome) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s >= l.cursor && l.state(s) == Pending && l.resolve(s, o)
}

// GiveUpBefore ends every slot before end that is neither taken nor ended, and
// returns how many those were.
func (l *Ledger) GiveUpBefore(end Slot, o Outcome) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	end = min(l.grid.Ceil(end), l.end)
	n := 0
	for s := l.cursor; s < end; s = l.grid.Step(s, 1) {
		if l.state(s) == Pending && l.resolve(s, o) {
			n++
		}
	}
	return n
}

// Wanted returns the first slot at or after from that is neither taken nor
// ended, and false where there is none.
func (l *Ledger) Wanted(from Slot) (Slot, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := max(l.cursor, l.grid.Ceil(from)); s < l.end; s = l.grid.Step(s, 1) {
		if l.state(s) == Pending {
			return s, true
		}
	}
	return 0, false
}

// TakeGaps returns the gaps that the cursor has passed since the last call, in
// order. A gap that goes on is told in pieces. Of more than 1024 only the newest
// are kept.
func (l *Ledger) TakeGaps() []Gap {
	l.mu.Lock()
	defer l.mu.Unlock()
	gaps := l.unread
	l.unread = nil
	return gaps
}

// Stats returns the figures, all of one instant.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Counted by itself, so that the sum can be checked.
	pending := uint64(l.grid.Count(l.cursor, l.end))
	for _, o := range l.states {
		if o != Pending && o != taken {
			pending--
		}
	}
	st := Stats{
		Expected: l.expected, Pending: pending, Ended: l.ended,
		Gaps: l.gaps, Start: l.start, Cursor: l.cursor, Newest: l.newest,
	}
	for o := range l.ended {
		st.GapTime[o] = time.Duration(l.gapSlots[o]) * l.grid.Interval()
	}
	return st
}

// state returns the state of a slot in [cursor, end).
func (l *Ledger) state(s Slot) Outcome {
	if i := l.grid.Count(l.cursor, s); i < len(l.states) {
		return l.states[i]
	}
	return Pending
}

// set changes the state of a slot, where the change is one that can be.
func (l *Ledger) set(s Slot, to Outcome) bool {
	if s < l.cursor || s >= l.end || s != l.grid.Floor(s) {
		return false
	}
	switch l.state(s) {
	case Pending:
	case taken:
		if to == taken {
			return false
		}
	default:
		return false
	}
	i := l.grid.Count(l.cursor, s)
	for len(l.states) <= i {
		l.states = append(l.states, Pending)
	}
	l.states[i] = to
	return true
}

// resolve ends a slot and moves the cursor at once, so that passing over a
// backlog of days keeps no states.
func (l *Ledger) resolve(s Slot, o Outcome) bool {
	if o == Pending || o >= outcomes {
		panic(fmt.Sprintf("source: a slot cannot end as %v", o))
	}
	if !l.set(s, o) {
		return false
	}
	l.ended[o]++
	if o == Published {
		l.newest = max(l.newest, s)
	}
	l.advance()
	return true
}

// advance moves the cursor over what has ended, and notes the gaps on the way:
// only here are slots seen in order.
func (l *Ledger) advance() {
	n := 0
	for n < len(l.states) && l.states[n] != Pending && l.states[n] != taken {
		l.pass(l.states[n])
		n++
	}
	l.states = append(l.states[:0], l.states[n:]...)
}

func (l *Ledger) pass(o Outcome) {
	s := l.cursor
	l.cursor = l.grid.Step(s, 1)
	if l.passed != nil {
		l.passed(s, o)
	}
	if o == Published {
		l.open = Pending
		return
	}
	l.gapSlots[o]++
	goesOn := o == l.open
	if !goesOn {
		l.gaps[o]++
		l.open = o
	}
	if last := len(l.unread) - 1; goesOn && last >= 0 {
		l.unread[last].To = s
		l.unread[last].Slots++
		return
	}
	if len(l.unread) == maxGaps {
		l.unread = append(l.unread[:0], l.unread[1:]...)
	}
	l.unread = append(l.unread, Gap{From: s, To: s, Slots: 1, Reason: o})
}
