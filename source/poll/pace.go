package poll

import (
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

const (
	// askPace is how often [Options.Pace] is asked for while the poller waits.
	askPace = time.Second
	// maxPaces is how many paces are remembered, with what was learned at each.
	maxPaces = 4
)

// A paced ledger is the ledger as it is at the present pace: only the slots on the multiples of
// it are wanted. Those between them end as [source.Skipped] when a later one has been settled,
// so that a finer pace begins with what is not there yet.
type paced struct {
	*source.Ledger
	grid source.Grid
}

// Grid returns the grid of the slots that are asked for.
func (l *paced) Grid() source.Grid { return l.grid }

// Wanted is that of [source.Ledger], for the slots of the pace.
func (l *paced) Wanted(from source.Slot) (source.Slot, bool) {
	for {
		s, ok := l.Ledger.Wanted(from)
		if !ok || s == l.grid.Floor(s) {
			return s, ok
		}
		from = l.grid.Ceil(s)
	}
}

// End returns the first slot of the pace that is not expected yet.
func (l *paced) End() source.Slot { return l.grid.Ceil(l.Ledger.End()) }

// skip ends the slots that the pace leaves out, up to the last one of the pace that is settled.
func (l *paced) skip() {
	if l.grid == l.Ledger.Grid() {
		return
	}
	next, ok := l.Wanted(0)
	if !ok {
		next = l.End()
	}
	l.GiveUpBefore(l.grid.Step(next, -1), source.Skipped)
}

// skipWithin ends the slots that the pace leaves out from one slot up to another, whether or
// not those of the pace are settled.
func (l *paced) skipWithin(from, to source.Slot) {
	if l.grid == l.Ledger.Grid() {
		return
	}
	for s := l.grid.Floor(max(from, l.Stats().Cursor)); s < to; s = l.grid.Step(s, 1) {
		l.GiveUpWithin(s+1, min(l.grid.Step(s, 1), to), source.Skipped)
	}
}

// learned is what the answers have told at one pace. How far apart the slots are matters to
// all of it.
type learned struct {
	estimate       estimate
	cadence        cadence
	shown          shown
	trailed        source.Slot
	guess, vain    time.Duration
	longer, misled int
}

// followPace asks how far apart slots are asked for at present, and goes over to that. It
// returns false if nothing is asked for.
func (p *Poller) followPace() bool {
	if p.opts.Pace == nil {
		return true
	}
	base, pace := p.ledger.Ledger.Grid(), p.opts.Pace()
	if pace < 0 {
		p.pace.Store(-1)
		return false
	}
	grid := base
	wide := min(roundUp(min(pace, source.MaxInterval), base.Interval()), source.MaxInterval-source.MaxInterval%base.Interval())
	p.pace.Store(0)
	if wider, err := source.NewGrid(wide); err == nil && wide > base.Interval() {
		grid = wider
		p.pace.Store(int64(wide))
	}
	if grid != p.ledger.grid {
		p.changePace(grid)
	}
	return true
}

// roundUp returns the least multiple of a unit that is not less than d.
func roundUp(d, unit time.Duration) time.Duration {
	if rest := d % unit; rest > 0 {
		return d - rest + unit
	}
	return d
}

// changePace goes over to other slots. What was learned the last time that these were asked for
// still holds.
func (p *Poller) changePace(grid source.Grid) {
	if p.paces == nil || len(p.paces) >= maxPaces {
		base := p.ledger.Ledger.Grid().Interval()
		old, known := p.paces[base]
		p.paces = map[time.Duration]learned{}
		if known {
			p.paces[base] = old
		}
	}
	p.paces[p.ledger.grid.Interval()] = learned{p.estimate, p.cadence, p.shown, p.trailed, p.guess, p.vain, p.longer, p.mistakes}
	now, known := p.paces[grid.Interval()]
	if !known {
		now = learned{
			estimate: estimate{interval: grid.Interval(), least: p.estimate.least},
			cadence:  cadence{interval: grid.Interval()},
			guess:    p.guess, longer: maxMistakes - 1,
		}
	}
	p.estimate, p.cadence, p.shown, p.trailed = now.estimate, now.cadence, now.shown, now.trailed
	p.guess, p.vain, p.longer, p.mistakes = now.guess, now.vain, now.longer, now.misled
	delete(p.paces, grid.Interval())

	p.ledger.grid = grid
	p.newest, p.askedTo, p.decide = grid.Floor(p.newest), grid.Floor(p.askedTo), grid.Floor(p.decide)
	p.listed.learnVaries(grid.Interval())
	p.misses, p.pollAt, p.recheckAt = 0, 0, 0 // what comes next comes at once
	p.forgetClues()
}

// halt ends the slots up to the present while nothing is asked for. Frames that are there
// already are yielded. It returns false when the caller wants no more.
func (p *Poller) halt(yield func(source.Frame, error) bool) bool {
	p.misses, p.pollAt, p.recheckAt = 0, 0, 0
	if !p.unknown() && !p.unsure() {
		end := p.now()
		p.ledger.Follow(end, p.opts.To)
		p.ledger.GiveUpBefore(end, source.Skipped)
		p.forgetClues()
	}
	return p.release(yield)
}

// paceChanged tells whether slots are to be asked for at another pace than they are.
func (p *Poller) paceChanged() bool {
	before, grid := p.pace.Load(), p.ledger.grid
	if p.followPace(); p.ledger.grid != grid {
		return true
	}
	return p.pace.Load() != before
}
