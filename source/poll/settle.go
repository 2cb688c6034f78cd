package poll

import (
	"maps"
	"math"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// usualDelay is how long after its end a fragment is visible, at most.
const usualDelay = 5 * time.Second

// settle draws the conclusions from a whole answer: it ends the slots whose grace is
// over, widens the overlap where the answer proves nothing, and learns. It returns the
// slot to go on from.
//
// That a slot is missing is conclusive if a fragment holding it would have started
// within the window: if the answer has media before it, or if the window starts a whole
// fragment before it. Otherwise the fragment may have been running already when the
// window opened.
func (p *Poller) settle(a *answer) (next source.Slot) {
	grid := p.ledger.Grid()
	next = grid.Step(a.End, 1)
	if newest, ok := a.newest(); ok {
		p.newest = max(p.newest, newest)
	}
	p.endBetween(a, false)
	conclusive, after := false, source.Slot(0)
	for i, media := range a.media {
		s := a.slot(i)
		if media {
			conclusive, after = true, s
			p.guess = max(p.guess, p.widened[s])
			continue
		}
		overlap := s.Sub(a.Start)
		conclusive = conclusive || overlap >= p.longestFragment()
		if wanted, ok := p.ledger.Wanted(s); !ok || wanted != s {
			continue
		}
		after = max(after, p.startsAfter[s])
		if before := grid.Step(s, -1); p.endsAt(before) {
			after = before
		}
		expired := a.asked >= p.deadline(s)
		if after != 0 {
			p.startsAfter[s] = after
			conclusive = conclusive || !expired && a.Start <= after
		}
		if conclusive && expired {
			p.ledger.GiveUp(s, source.NoMedia)
		}
		if wider := p.widerOverlap(overlap, expired); !conclusive && wider > overlap && (expired || p.newest > s) {
			p.widened[s] = wider
			next = min(next, s)
		}
	}
	first, missing := p.ledger.Wanted(0)
	maps.DeleteFunc(p.widened, func(s source.Slot, _ time.Duration) bool { return !missing || s < first })
	maps.DeleteFunc(p.startsAfter, func(s, _ source.Slot) bool { return !missing || s < first })
	p.learn(a)
	return next
}

// expired returns the newest slot whose grace is over.
func (p *Poller) expired(now source.Slot) source.Slot {
	if p.unsure() {
		return 0
	}
	amongMedia := min(now.Add(-p.grace()), p.newest)
	return max(amongMedia, now.Add(-p.edgeGrace()))
}

// deadline returns when a slot's grace is over.
func (p *Poller) deadline(s source.Slot) source.Slot {
	if p.unsure() {
		return math.MaxInt64
	}
	if p.newest < s {
		return s.Add(p.edgeGrace())
	}
	return s.Add(p.grace())
}

func (p *Poller) unsure() bool { return p.opts.Unsure != nil && p.opts.Unsure() }

// edgeGrace returns the grace of slots at the live edge. Where there is nothing newer, a
// slot may still be part of a fragment that goes on, however short the configured grace
// is.
func (p *Poller) edgeGrace() time.Duration {
	return max(p.grace(), p.longestFragment()+max(p.estimate.delay, usualDelay))
}

// learn takes note of where the visible media ends, if the answer shows it.
func (p *Poller) learn(a *answer) {
	if !a.live {
		return
	}
	newest, ok := a.newest()
	if p.learnTrailing(a) {
		p.misses = 0
		p.polled()
		return
	}
	if ok && newest == a.End && !a.aligned {
		p.estimate.tooLate(a.asked.Sub(a.End))
		p.misses = 0
		p.polled()
		return
	}
	p.learnEdge(p.begin(a, newest), newest, a.End, a.asked, a.aligned)
}

// learnEdge takes note of the newest visible slot, 0 where there is none. The media from
// begin to it has no hole.
func (p *Poller) learnEdge(begin, newest, end, asked source.Slot, aligned bool) {
	if newest > max(p.estimate.edge, p.trailed) {
		p.cadence.advance(p.estimate.edge, newest)
		longest, slack := p.cadence.usual()
		if longest > p.estimate.interval && p.cadence.between() {
			slack += p.estimate.interval
		}
		if aligned && end.Sub(newest) > 2*slack {
			begin, aligned = end, false // not the end of the fragment
		}
		p.estimate.slack = slack
		p.estimate.advance(begin, newest, asked)
		p.estimate.whole = aligned || p.estimate.bounded || end.Sub(newest) >= longest
		p.misses = 0
	} else {
		// Only the poll that was due says something about the delay: those after it may
		// be waiting for a camera that is off.
		if p.misses == 0 && !p.probing() {
			p.estimate.tooEarly()
		}
		p.misses++
	}
	p.polled()
}

func (p *Poller) polled() {
	p.polls++
	if p.opts.Lag == Auto {
		p.lag.Store(int64(p.estimate.delay))
	}
}
