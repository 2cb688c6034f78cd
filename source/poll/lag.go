package poll

import (
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// trails tells whether the configured lag decides when to ask, because the media is visible
// before. Where visible media ends can then not be seen. But an answer shows where a
// fragment starts, because it has nothing of the one that was running when the window
// opened. So windows end with a fragment here, too, and are asked for once the last slot
// is old enough.
func (p *Poller) trails() bool { return p.opts.Lag > 0 && p.estimate.delay <= p.opts.Lag }

// planned tells whether it is known ahead, with a configured lag, which slots to ask for
// next, and when.
func (p *Poller) planned() bool { return p.trails() || p.opts.Lag > 0 && p.estimate.regular() }

// behind returns how old the last slot of a fragment has to be.
func (p *Poller) behind() time.Duration { return max(p.opts.Lag, p.estimate.delay) }

// trailTo returns the newest slot to ask for with a configured lag.
func (p *Poller) trailTo(now source.Slot) source.Slot {
	limit := now.Add(-p.behind())
	if end, ok := p.fragmentEnd(limit, 0); ok {
		return end.Add(p.estimate.tolerance())
	}
	return limit
}

// fragmentEnd returns the last slot at which a fragment ends that, with the tolerance, is
// not after s, or the n-th end after that. It returns false where fragments are not regular.
func (p *Poller) fragmentEnd(s source.Slot, n int) (source.Slot, bool) {
	if !p.estimate.regular() {
		return 0, false
	}
	grid := p.ledger.Grid()
	fragment, _ := p.estimate.fragment()
	// Ends are rounded down to slots.
	ahead := grid.Step(grid.Floor(s), 1).Sub(p.estimate.edge) - p.estimate.tolerance() - time.Millisecond
	whole := time.Duration(n)*fragment + ahead - ahead%fragment
	return grid.Floor(p.estimate.edge.Add(whole)), ahead >= 0
}

// endsAt tells whether all media up to s has been asked for with its fragments, so that a
// fragment with a later slot starts after s.
func (p *Poller) endsAt(s source.Slot) bool {
	if s == p.estimate.edge {
		return p.estimate.whole
	}
	end, ok := p.fragmentEnd(s, 0)
	return ok && end == s && p.opts.Lag > 0 && p.estimate.tolerance() == 0
}

// learnTrailing takes note of where fragments start if the configured lag, and not the end
// of the visible media, ends the window of an answer. It returns false otherwise.
func (p *Poller) learnTrailing(a *answer) bool {
	newest, _ := a.newest()
	if longest, _ := p.cadence.usual(); p.opts.Lag <= 0 || a.End.Sub(newest) >= longest {
		return false
	}
	clipped := a.asked.Sub(a.End) < p.opts.Lag+min(a.Interval, fixedPolls)
	switch {
	case !a.aligned && clipped || p.trails():
		p.estimate.tooLate(p.opts.Lag)
	case a.aligned:
		p.estimate.move(false)
	default:
		return false
	}
	p.learnStart(a)
	p.trailed = newest
	return true
}

// nextTrailing returns when to poll next if that is planned.
func (p *Poller) nextTrailing(now source.Slot) source.Slot {
	grid := p.ledger.Grid()
	fragment, known := p.estimate.fragment()
	// Where fragments are of any length, a window overlaps what came before by one.
	// In windows farther apart, one could not tell how long they are.
	next := p.askedTo.Add(fragment*3/2 + p.behind())
	switch end, ok := p.fragmentEnd(p.askedTo, 1); {
	case ok:
		next = end.Add(p.estimate.tolerance() + p.behind())
		if p.probing() {
			next = next.Add(-fragment / 2)
		}
	case known:
	case grid.Interval() <= fixedPolls:
		return now.Add(fixedPolls)
	default:
		// When the next slot is old enough: polling an interval after this poll would make
		// all frames as old as the first one happened to be.
		return grid.Step(grid.Floor(now.Add(-p.opts.Lag)), 1).Add(p.opts.Lag)
	}
	return max(next, now.Add(earlyRetry))
}

// learnStart takes note of where the first fragment of an answer starts.
func (p *Poller) learnStart(a *answer) {
	i := slices.Index(a.media, true)
	if i < 0 {
		return
	}
	grid := p.ledger.Grid()
	edge := grid.Step(a.slot(i), -1)
	if before, ok := p.cadence.before(a.slot(i)); ok && p.cadence.adjacent(before, a.times[i]) {
		edge = grid.Nearest(before) // of a slow camera
	}
	p.estimate.passed(edge)
}

// passed takes note of a slot after which a fragment starts, of which it is not known when
// the one before became visible.
func (e *estimate) passed(edge source.Slot) {
	if edge <= e.edge {
		return
	}
	if e.edge != 0 {
		e.note(edge.Sub(e.edge))
	}
	e.edge, e.whole = edge, true
}

// regular tells whether all fragments are of about the same length, give or take what the
// slots leave open.
func (e *estimate) regular() bool {
	if e.steady() {
		return true
	}
	fragment, _ := e.fragment()
	if len(e.advances) <= 2*minSample || fragment < 4*e.interval {
		return false
	}
	for _, a := range e.advances {
		if off := a % fragment; min(off, fragment-off) > e.interval+e.slack {
			return false
		}
	}
	return true
}

// varies tells whether fragments differ in length by more than the slots leave open, so that
// nobody knows when the next one ends.
func (e *estimate) varies() bool {
	if len(e.advances) <= 2*minSample || e.regular() {
		return false
	}
	fragment, _ := e.fragment()
	if fragment >= 4*e.interval {
		return true
	}
	longer, limit := 0, e.shortest()+e.interval+e.slack
	for _, a := range e.advances {
		if a > limit {
			longer++
		}
	}
	return longer > 1
}

// tolerance returns by how much regular fragments may be longer than estimated.
func (e *estimate) tolerance() time.Duration {
	if e.steady() {
		return e.slack
	}
	return e.interval + e.slack
}
