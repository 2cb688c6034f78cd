package poll

import (
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// firstOverlap is the guess while no fragment length is known.
const firstOverlap = 2 * time.Second

// need returns what the next window has to take into account.
func (p *Poller) need(from, to source.Slot) need {
	n := need{from: from, horizon: to, fragment: MaxFragment, overlap: p.overlapFor(from)}
	if f, ok := p.estimate.fragment(); ok {
		n.fragment, n.known = f, true
	}
	return n
}

// page returns how many images a page usually holds.
func (p *Poller) page() int {
	if p.pager == nil {
		return PageSlots
	}
	return p.pager.PageSlots()
}

// overlapFor returns how long before the first wanted slot at or after from a window has
// to start.
func (p *Poller) overlapFor(from source.Slot) time.Duration {
	grid := p.ledger.Grid()
	first, ok := p.ledger.Wanted(from)
	if !ok {
		return 0
	}
	c := p.clues[first]
	if c.overlap > 0 {
		return c.overlap
	}
	if p.opts.Overlap != Auto {
		return p.opts.Overlap
	}
	// Media becomes visible in whole fragments, so the first slot after the edge is the
	// first of a fragment.
	if before := grid.Step(first, -1); p.endsAt(before) || before == p.gone {
		return grid.Interval()
	}
	if first > p.decide && p.mayEndAt(grid.Step(first, -1)) {
		return grid.Interval()
	}
	if end, ok := p.fragmentEnd(grid.Step(first, -1), 0); ok && p.opts.Lag > 0 && end < first {
		return first.Sub(end)
	}
	// A picture that failed tells that a window from there on has its fragment.
	if c.told(c.after, first <= p.decide) || c.broken != 0 && c.after == grid.Step(first, -1) {
		return min(first.Sub(c.after), p.usualOverlap())
	}
	return p.likelyOverlap(first)
}

// likelyOverlap returns how long before a slot a window has to start in order to have the
// slot's fragment, as far as that is known.
func (p *Poller) likelyOverlap(s source.Slot) time.Duration {
	usual := p.usualOverlap()
	if start, ok := p.shown.start(s); ok && s.Sub(start) <= max(usual, p.estimate.maxAdvance) {
		return s.Sub(start)
	}
	return usual
}

// misled tells whether a window that had no media of a slot, nor any before it, may have begun
// too late. That is so if it lacks media that was there. Where the slot's fragment should begin
// by the length of fragments only, it is so if there is newer media already: the fragment before
// is longer, rather than that of the slot late. If a whole fragment is missing, that is so only
// when it is very late.
func (p *Poller) misled(a *answer, c clue, s source.Slot) bool {
	if !c.guessed || c.after < a.Start {
		return p.shown.lacks(a.Start, s)
	}
	if p.newest <= s || !p.estimate.steady() || p.estimate.jumped {
		return p.newest > s
	}
	fragment, _ := p.estimate.fragment()
	usual, _ := p.estimate.visibleAfter()
	next, ok := a.next(s)
	return ok && next.Sub(c.after) <= fragment || a.asked.Sub(s) > usual+4*fragment
}

// sureOverlap returns an overlap to try for a slot if the usual one has misled: from where a
// fragment is known to start, unless that is far back.
func (p *Poller) sureOverlap(s source.Slot) time.Duration {
	longest := max(p.longestFragment(), MaxFragment) * 5 / 4
	if p.now().Sub(s) > 2*longest { // long windows do not help to catch up
		longest = max(p.estimate.maxAdvance, MaxFragment)
	}
	if start, ok := p.shown.start(s); ok && s.Sub(start) <= longest {
		return s.Sub(start)
	}
	return p.usualOverlap() + p.ledger.Grid().Interval()
}

// mayEndAt tells whether the first fragment that is not there yet should end at s. That is
// no proof: if a later slot is missing in a window from s on, it is asked for again. Where
// several fragments are late, media may have become later, and the answer to a window of all
// of them tells by how much.
func (p *Poller) mayEndAt(s source.Slot) bool {
	fragment, _ := p.estimate.fragment()
	ahead := s.Sub(p.estimate.edge)
	return p.estimate.steady() && p.estimate.whole && p.estimate.slack == 0 && ahead == fragment && !p.trails()
}

// usualOverlap returns the length of a fragment, as far as it is known.
func (p *Poller) usualOverlap() time.Duration {
	fragment, _ := p.estimate.fragment()
	return max(fragment, p.guess)
}

// widerOverlap returns the overlap to try for a slot after a window from start on proved
// nothing. As long as the media may merely be late, that is at most the length of a fragment.
// Otherwise it grows, at once to what was tried last, so that a long gap is not asked for at
// every width again.
func (p *Poller) widerOverlap(s, start source.Slot, expired bool) time.Duration {
	if _, known := p.estimate.fragment(); known && !expired {
		return p.usualOverlap()
	}
	return min(max(2*s.Sub(start), firstOverlap, p.vain), p.longestProof(start, s))
}

// longestProof returns how long before a slot without media a window from start on has to
// start in order to prove that it has none. That is as long as a fragment may be. If there is
// media between the two that the window did not have, its fragment is longer than that.
func (p *Poller) longestProof(start, s source.Slot) time.Duration {
	longest := p.longestFragment()
	if !p.shown.lacks(start, s) {
		return longest
	}
	if begin, ok := p.shown.start(s); ok {
		return min(max(longest, s.Sub(begin)), MaxOverlap)
	}
	return max(longest, MaxFragment)
}

// longestFragment returns how long a fragment may be.
func (p *Poller) longestFragment() time.Duration {
	return max(p.estimate.longest(), p.guess, 2*p.listed.longest)
}
