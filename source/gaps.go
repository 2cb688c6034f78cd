package source

import "slices"

// maxUntold bounds the gaps that a ledger keeps for [Ledger.NextGap]: a ledger that
// nobody asks must not grow.
const maxUntold = 1024

// A Gap is a run of slots without a delivered picture, for one reason.
type Gap struct {
	// From and To are its first and last slot.
	From, To Slot
	// Slots is the number of slots.
	Slots int
	// Reason is the outcome of all of them.
	Reason Outcome
}

// NextGap returns the first gap before the cursor that has not been announced, and false if
// there is none. It returns the same gap again, perhaps longer, until [Ledger.Told] is
// called with it. Of more than 1024 such gaps only the newest are kept.
func (l *Ledger) NextGap() (Gap, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.untold) == 0 {
		return Gap{}, false
	}
	return l.untold[0], true
}

// Told marks a gap from [Ledger.NextGap] as announced. Slots that have joined the gap in the
// meantime remain, as a gap of their own.
func (l *Ledger) Told(g Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.untold, func(untold Gap) bool { return untold.From == g.From })
	switch {
	case i < 0: // announced already, or no longer kept
	case l.untold[i].To <= g.To:
		l.untold = slices.Delete(l.untold, i, i+1)
	default:
		rest := &l.untold[i]
		rest.From = l.grid.Step(g.To, 1)
		rest.Slots = l.grid.Count(rest.From, l.grid.Step(rest.To, 1))
	}
}

// noteGap keeps a gap that the cursor has passed until it is announced.
func (l *Ledger) noteGap(g Gap) {
	if last := len(l.untold) - 1; last >= 0 {
		before := &l.untold[last]
		if before.Reason == g.Reason && l.grid.Step(before.To, 1) == g.From {
			before.To = g.To
			before.Slots += g.Slots
			return
		}
	}
	if len(l.untold) == maxUntold {
		l.untold = slices.Delete(l.untold, 0, 1)
	}
	l.untold = append(l.untold, g)
}

// toldTo returns the first slot that has not ended, or belongs to a gap that has not been
// announced.
func (l *Ledger) toldTo() Slot {
	if len(l.untold) > 0 {
		return l.untold[0].From
	}
	return l.cursor
}
