package poll

import (
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// How long to wait for what.
const (
	firstPolls    = 500 * time.Millisecond // between polls while nothing is known
	recheckPolls  = time.Second            // between polls for what is missing, at least
	maxRecheck    = 30 * time.Second       // between them, at most, while no frames wait for it
	doubtAgain    = 300 * time.Millisecond // between polls for what an answer proved to be missing
	fixedPolls    = time.Second            // between polls with a configured lag
	earlyRetry    = 100 * time.Millisecond // after a poll that came too early
	maxUntilMedia = 10 * time.Second       // the longest wait for media that is due
)

const (
	// quietPolls in a row that find nothing new mean that the camera may be off.
	quietPolls = 3
	// longQuiet polls do so where it is not known how long fragments are.
	longQuiet = 24
	// Every probeEvery-th poll comes early, to notice that fragments have become shorter.
	probeEvery = 16
	// exploreEvery is that where fragments vary.
	exploreEvery = 4
)

// quiet tells whether the camera may be off.
func (p *Poller) quiet() bool { return p.misses >= quietPolls && !p.patient(p.now()) }

// probing tells whether the next poll is to come early.
func (p *Poller) probing() bool {
	return p.polls%probeEvery == probeEvery-1 && p.estimate.steady() && !p.trails()
}

// untilNextCycle returns how long to wait for the next cycle.
func (p *Poller) untilNextCycle(now source.Slot) time.Duration {
	interval := p.ledger.Grid().Interval()
	// What was planned stays, unless it is done or something earlier is called for.
	if poll := min(p.nextPoll(now), now.Add(max(interval, maxUntilMedia))); p.pollAt <= now || poll < p.pollAt {
		p.pollAt = poll
	}
	if recheck := p.nextRecheck(now); p.recheckAt <= now || recheck < p.recheckAt {
		p.recheckAt = recheck
	}
	next := p.pollAt
	if first, missing := p.ledger.Wanted(0); missing && (p.rechecked(first) || first <= p.decide) {
		next = min(next, p.recheckAt)
	}
	return min(max(next.Sub(now), 0), max(interval, maxUntilMedia))
}

// rechecked tells whether the first missing slot is asked for apart from what may be new:
// there is newer media, or the newest slots are not all asked for.
func (p *Poller) rechecked(first source.Slot) bool {
	return first <= p.newest || p.quiet() && !p.listsLiveEdge()
}

// nextRecheck returns when to ask again for what is missing. Only the first missing slot
// matters, because all later ones wait for it. The longer it is due, the longer the pauses,
// but there is a look when its grace is over.
func (p *Poller) nextRecheck(now source.Slot) source.Slot {
	first, missing := p.ledger.Wanted(0)
	switch {
	case !missing:
		return now.Add(recheckPolls)
	case p.deciding(first) && p.clues[first].proofs == 0:
		return now.Add(errorLasts)
	case p.deciding(first), p.goesOn(first):
		return now.Add(doubtAgain)
	}
	most := maxRecheck
	if len(p.held) > 0 {
		most = maxUntilMedia
	}
	usual, _ := p.estimate.visibleAfter()
	fragment, _ := p.estimate.fragment()
	overdue := now.Sub(first.Add(usual)) / 3
	if broken := p.clues[first].broken; broken != 0 { // each look is paid for
		overdue = now.Sub(broken)
	}
	next := now.Add(min(max(overdue, fragment/2, recheckPolls), most))
	if p.newest > first {
		next = min(next, max(p.deadline(p.lastMissing(first)), now.Add(doubtAgain)))
	}
	return next
}

// lastMissing returns the last slot of those that are missing in a row from the first
// one on, within a time.
func (p *Poller) lastMissing(first source.Slot) source.Slot {
	grid := p.ledger.Grid()
	last := first
	for {
		next := grid.Step(last, 1)
		if wanted, ok := p.ledger.Wanted(next); !ok || wanted != next || next.Sub(first) >= maxRecheck {
			return last
		}
		last = next
	}
}

// nextPoll returns when something new may be there.
func (p *Poller) nextPoll(now source.Slot) source.Slot {
	if p.planned() && p.misses == 0 {
		return p.nextTrailing(now)
	}
	if p.listsLiveEdge() {
		return p.nextLook(now)
	}
	fragment, known := p.estimate.fragment()
	due, ok := p.estimate.due()
	if ok && (p.probing() || p.estimate.varies()) {
		due = due.Add(-fragment / 2)
	}
	if next, ok := p.estimate.nextEnd(now); ok && p.estimate.varies() && (p.misses > 0 || p.polls%exploreEvery != 0) {
		return max(next, now.Add(earlyRetry))
	}
	switch {
	case ok && due > now:
		return due
	case ok && p.patient(now):
		return now.Add(max(fragment/10, now.Sub(due)/3, min(p.ledger.Grid().Interval()/2, fixedPolls), earlyRetry))
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
