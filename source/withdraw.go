package source

// Withdraw makes the ledger want all slots from one on that are expected, those that have
// ended and those that are taken included: what was delivered of them has been lost again.
// It returns how many had ended. These count again, as expected and when they end. The
// caller makes sure that nobody works on one of the slots.
func (l *Ledger) Withdraw(from Slot) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	from = l.grid.Ceil(from)
	if from >= l.end {
		return 0
	}
	n, keep := l.grid.Count(min(from, l.cursor), l.cursor), 0
	for i, r := range l.runs {
		if r.from < from {
			keep++
		}
		if begin := max(r.from, from); r.ended() && begin < l.runEnd(i) {
			n += l.grid.Count(begin, l.runEnd(i))
		}
	}
	l.runs = append(l.runs[:keep], run{from, Pending})
	l.expected += uint64(n)
	l.withdrawn += uint64(n)
	l.rewinds++
	if l.newest >= from {
		l.newest = l.grid.Step(from, -1)
	}
	if from < l.cursor {
		l.cursor, l.open = from, Pending
		l.start = min(l.start, from)
		l.forgetGaps(from)
		l.forget(from)
	}
	l.tidy()
	return n
}
