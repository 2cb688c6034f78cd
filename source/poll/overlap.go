package poll

import (
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// firstOverlap is the guess while no fragment length is known.
const firstOverlap = 2 * time.Second

// need returns what the next window has to take into account.
func (p *Poller) need(from, to source.Slot) need {
	n := need{from: from, horizon: to, fragment: MaxFragment, overlap: p.overlapFor(from), page: PageSlots}
	if p.pager != nil {
		n.page = p.pager.PageSlots()
	}
	if f, ok := p.estimate.fragment(); ok {
		n.fragment = f
	}
	if p.failing {
		// Continuation tokens sometimes fail: a single page needs none.
		n.fragment, n.single = 0, true
	}
	return n
}

// overlapFor returns how long before the first wanted slot at or after from a window has
// to start.
func (p *Poller) overlapFor(from source.Slot) time.Duration {
	grid := p.ledger.Grid()
	first, ok := p.ledger.Wanted(from)
	if !ok {
		return 0
	}
	if wide, ok := p.widened[first]; ok {
		return wide
	}
	if p.opts.Overlap != Auto {
		return p.opts.Overlap
	}
	// Media becomes visible in whole fragments, so the first slot after the edge is the
	// first of a fragment.
	if p.endsAt(grid.Step(first, -1)) {
		return grid.Interval()
	}
	if end, ok := p.fragmentEnd(grid.Step(first, -1), 0); ok && p.opts.Lag > 0 && end < first {
		return first.Sub(end)
	}
	// The last look does not rely on what earlier answers told.
	if after, ok := p.startsAfter[first]; ok && p.now() < p.deadline(first) {
		return min(first.Sub(after), p.usualOverlap())
	}
	return p.usualOverlap()
}

// usualOverlap returns the length of a fragment, as far as it is known.
func (p *Poller) usualOverlap() time.Duration {
	fragment, _ := p.estimate.fragment()
	return max(fragment, p.guess)
}

// widerOverlap returns the overlap to try after one that proved nothing. As long as the
// media may merely be late, that is at most the length of a fragment.
func (p *Poller) widerOverlap(overlap time.Duration, expired bool) time.Duration {
	if _, known := p.estimate.fragment(); known && !expired {
		return p.usualOverlap()
	}
	return min(max(2*overlap, firstOverlap), p.longestFragment())
}

// longestFragment returns how long a fragment may be.
func (p *Poller) longestFragment() time.Duration { return max(p.estimate.longest(), p.guess) }
