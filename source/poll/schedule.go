package poll

import (
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// How long to wait for what.
const (
	firstPolls    = 500 * time.Millisecond // between polls while nothing is known
	recheckPolls  = 2 * time.Second        // between polls for what is missing
	fixedPolls    = time.Second            // between polls with a configured lag, or to give slots up
	earlyRetry    = 100 * time.Millisecond // after a poll that came too early
	maxUntilMedia = 10 * time.Second       // the longest wait for media that is due
)

const (
	// quietPolls in a row that find nothing new mean that the camera may be off.
	quietPolls = 3
	// Every probeEvery-th poll comes early, to notice that fragments have become shorter.
	probeEvery = 16
)

// quiet tells whether the camera may be off.
func (p *Poller) quiet() bool { return p.misses >= quietPolls }

// probing tells whether the next poll is to come early.
func (p *Poller) probing() bool {
	return p.polls%probeEvery == probeEvery-1 && p.estimate.steady() && !p.trails()
}

// untilNextCycle returns how long to wait for the next cycle.
func (p *Poller) untilNextCycle(now source.Slot) time.Duration {
	interval := p.ledger.Grid().Interval()
	next := p.nextPoll(now)
	first, missing := p.ledger.Wanted(0)
	if missing && first < p.newest {
		next = min(next, p.recheckAt)
	}
	// Giving up a missing slot releases the frames that wait for it.
	if missing && len(p.held) > 0 {
		giveUp := max(p.lastMissing(first).Add(p.grace()), now.Add(fixedPolls))
		p.recheckAt = min(p.recheckAt, giveUp)
		next = min(next, giveUp)
	}
	return min(max(next.Sub(now), 0), max(interval, maxUntilMedia))
}

// lastMissing returns the last slot of those that are missing in a row from the first
// one on, within the length of a fragment.
func (p *Poller) lastMissing(first source.Slot) source.Slot {
	fragment, _ := p.estimate.fragment()
	grid := p.ledger.Grid()
	last := first
	for {
		next := grid.Step(last, 1)
		if wanted, ok := p.ledger.Wanted(next); !ok || wanted != next || next.Sub(first) >= fragment {
			return last
		}
		last = next
	}
}

// recheckInterval returns how long to leave alone what is missing. Looking again costs
// an image a slot, and there is a last look when the grace is over.
func (p *Poller) recheckInterval() time.Duration {
	fragment, _ := p.estimate.fragment()
	switch shortest := max(recheckPolls, fragment); {
	case len(p.held) > 0:
		return shortest
	case p.quiet():
		return max(shortest, p.opts.Grace)
	default:
		return max(shortest, p.opts.Grace/3)
	}
}

// nextPoll returns when something new may be there.
func (p *Poller) nextPoll(now source.Slot) source.Slot {
	if p.planned() && p.misses == 0 {
		return p.nextTrailing(now)
	}
	fragment, known := p.estimate.fragment()
	due, ok := p.estimate.due()
	if ok && p.probing() {
		due = due.Add(-fragment / 2)
	}
	switch {
	case ok && due > now:
		return due
	case known:
		// The longer nothing comes, the longer the pauses: the camera may be off.
		limit := min(max(fragment, time.Second)<<max(0, min(p.misses-quietPolls, 8)), max(fragment, maxUntilMedia))
		return now.Add(min(min(max(fragment/10, earlyRetry), fixedPolls)<<min(p.misses, 8), limit))
	}
	next := now.Add(max(min(p.ledger.Grid().Interval(), time.Second), firstPolls))
	if p.misses > 4*quietPolls {
		next = now.Add(maxUntilMedia)
	} else if edge, ok := p.ledger.Wanted(p.newest); ok {
		next = max(next, now.Add(now.Sub(edge)/4))
	}
	return next
}
