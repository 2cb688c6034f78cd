package poll

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

const (
	// patience is how long a slot is waited for at least while it is unknown how late the
	// media of the stream becomes visible, or whether newer media is there.
	patience = 2 * time.Minute
	// enoughProofs is how many answers in a row must prove, after the grace, that a slot
	// has no media: some answers have nothing although there is media.
	enoughProofs = 3
	// errorLasts is how long the service may fail to make a picture that it makes later.
	errorLasts = time.Second
	// maxMistakes is how many fragments in a row may go on after the slot at which they
	// should have ended.
	maxMistakes = 2
)

// A clue is what answers told of a slot that they have no picture of.
type clue struct {
	overlap time.Duration // to try next, because the last answer proved nothing; 0 for the usual
	after   source.Slot   // its fragment starts after this slot; 0 where unknown
	guessed bool          // that is so by the length of fragments only: no answer showed it
	early   bool          // its fragment may not have been visible yet when that was told
	broken  source.Slot   // when an answer first had an error of it; 0 for never
	proofs  int           // answers after the grace that proved that it has no media
	sure    bool          // an answer after the grace had media up to after and none right after it
}

// told tells whether an answer to a window from start on proves by what earlier ones told
// that a slot has no media. A fragment may go on after the slot at which it should have
// ended, so the first look after the grace does not rely on it.
func (c clue) told(start source.Slot, expired bool) bool {
	return c.after != 0 && start <= c.after && (c.sure || !expired)
}

// settle draws the conclusions from a whole answer: it ends the slots whose grace is
// over, widens the overlap where the answer proves nothing, and learns. It returns the
// slot to go on from.
func (p *Poller) settle(a *answer) (next source.Slot) {
	grid := p.ledger.Grid()
	next = grid.Step(a.End, 1)
	if newest, ok := a.newest(); ok {
		p.newest = max(p.newest, newest)
	}
	p.learnEnds(a)
	p.endBetween(a, false)
	if p.cadence.slow() { // of what lies between two frames, nothing is known
		p.shown = shown{}
	} else {
		p.shown.add(a, p.page())
	}
	// The last slot before s that has media in this answer, and what is known of the slot
	// before s, as far as it goes for s, too.
	before, known := source.Slot(0), clue{}
	var begin source.Slot // of the media without a hole up to s
	for i, media := range a.media {
		s := a.slot(i)
		switch {
		case a.open[i] && !p.cadence.slow():
			known = clue{} // whether there is a picture is open, and whether a fragment begins with it
		case p.endsAt(grid.Step(s, -1)):
			known = clue{after: grid.Step(s, -1), guessed: !p.shown.startsAfter(grid.Step(s, -1))}
		case a.broken[i]:
			known = clue{}
		}
		if grid.Step(s, -1) == p.gone {
			known = clue{after: p.gone, sure: true}
		}
		if media {
			if before != grid.Step(s, -1) {
				begin = s
			}
			p.learnOverlap(a, s, begin)
		}
		if wanted, ok := p.ledger.Wanted(s); ok && wanted == s {
			switch {
			case a.broken[i]:
				p.missBroken(a, s, known.after)
			case p.miss(a, s, before, &known):
				next = min(next, s)
			}
		}
		if media {
			// What comes right after it may be missing on another page only. A page has half
			// as many slots as images if each comes twice.
			before, known = s, clue{after: s, sure: i+1 < p.page()/2}
			if p.cadence.slow() {
				// Its own fragment, which starts within the window, may go on.
				known = clue{after: a.Start}
			}
		}
	}
	p.forgetClues()
	p.learn(a)
	return next
}

// learnOverlap takes note of media of a slot, which has no hole from begin on. Media that a
// shorter window missed is of a longer fragment, if there is as much of it.
func (p *Poller) learnOverlap(a *answer, s, begin source.Slot) {
	wide := s.Sub(a.Start)
	switch {
	case s == a.widened:
		if p.cadence.slow() || s.Sub(begin) >= wide/2 {
			p.tooShort(wide)
		}
		p.vain = 0
	case s == a.first && a.widened == 0 && wide >= p.usualOverlap():
		p.suffices()
	}
}

// tooShort takes note of an overlap that sufficed after the usual one did not. An answer may
// leave out media for other reasons, so only two of these with at most one usual overlap
// that sufficed between them tell that fragments are longer.
func (p *Poller) tooShort(wide time.Duration) {
	if p.longer += 2; p.longer > maxMistakes {
		p.guess = max(p.guess, wide)
	}
}

// suffices takes note that the usual overlap was long enough. A guess that is longer than
// all fragments seen lately becomes shorter with each, until one is too short: long overlaps
// cost the most where pages are small.
func (p *Poller) suffices() {
	p.longer = max(p.longer-1, 0)
	if longest := max(p.estimate.maxAdvance, firstOverlap); p.estimate.settled() && p.guess > longest {
		p.guess -= (p.guess - longest) / 8
	}
}

// learnEnds takes note of media after what should have been the last slot of a fragment, which
// windows from that slot on did not have.
func (p *Poller) learnEnds(a *answer) {
	first := slices.Index(a.media, true)
	var end, last source.Slot
	for i, media := range a.media {
		s := a.slot(i)
		c := p.clues[s]
		switch {
		case !media || c.broken != 0:
		case c.guessed && c.overlap > 0 && a.Start < c.after:
			end, last = c.after, s
		case c.after == s.Add(-a.Interval) && !c.early:
			p.wentOn(a.Start < c.after)
		}
	}
	if first > 0 && last != 0 {
		p.estimate.wentOn(a.slot(first-1), end, last)
	}
}

// wentOn takes note of a fragment that seems to have gone on. If only longer windows find such
// media, it is of the same fragments, and their length is learned again.
func (p *Poller) wentOn(longer bool) {
	if p.mistakes++; !longer {
		p.mistakes = 0
	}
	if p.mistakes >= maxMistakes {
		p.mistakes, p.estimate.advances = 0, nil
	}
}

// miss takes note of an answer that has no picture of a slot. It ends the slot if that is
// final, and tells whether to ask for it again at once, with a longer overlap.
//
// That a slot has no media is proved if a fragment holding it would have started within
// the window: if the answer has media before it, or if the window starts a whole fragment
// before it. Otherwise the fragment may have been running already when the window opened.
func (p *Poller) miss(a *answer, s, before source.Slot, known *clue) (again bool) {
	c := p.clues[s]
	overlap, expired := s.Sub(a.Start), s <= p.decide
	if known.after > c.after || known.after == c.after && (known.sure || !known.guessed) {
		c.after, c.sure, c.guessed = known.after, known.sure, known.guessed
	}
	usual, _ := p.estimate.visibleAfter()
	c.early = c.after != 0 && a.asked.Sub(s) < usual*5/4
	c.sure = c.sure && expired
	*known = c
	switch {
	case s == a.End && p.cadence.between():
		// Its picture may be of a fragment that starts after the window.
	case !expired && c.broken == 0 && before == 0 && p.misled(a, c, s) && overlap < p.sureOverlap(s):
		c.overlap, again = p.sureOverlap(s), true
	case before != 0 || c.told(a.Start, expired) || overlap >= p.longestProof(a.Start, s):
		if !expired {
			if before != 0 && c.after != 0 { // what a longer overlap was for
				c.overlap = 0
			}
			break
		}
		needed := c.overlap
		if c.overlap = 0; c.after == 0 {
			if before == 0 && overlap < needed { // the same window, for slots after this one
				c.overlap = needed
				break
			}
			c.overlap = p.longestFragment()
			if !p.estimate.settled() { // there may be longer ones than are expected
				c.overlap = min(2*max(overlap, c.overlap), MaxWindow/5)
			}
		}
		p.doubt(&c, s)
	case expired && (c.broken == 0 || a.asked.Sub(c.broken) >= errorLasts), c.broken == 0 && (p.newest > s || p.complete() && p.estimate.delay > 0):
		if s == a.widened {
			p.vain = max(p.vain, overlap)
		}
		// Later slots need no longer overlap than the first one.
		if wider := p.widerOverlap(a.first, a.Start, expired); wider > overlap {
			c.overlap, again = wider, true
		}
	}
	p.keep(s, c)
	return again
}

// missBroken takes note of an answer that has an error of a slot instead of a picture.
func (p *Poller) missBroken(a *answer, s, after source.Slot) {
	c := p.clues[s]
	c.after = max(c.after, after)
	if c.overlap = 0; c.broken == 0 {
		c.broken = a.asked
	}
	if s <= p.decide && a.asked.Sub(c.broken) >= errorLasts {
		p.ledger.GiveUp(s, source.MediaError)
	}
	p.keep(s, c)
}

// doubt takes note of an answer that proves, after the grace, that a slot has no media, and
// ends the slot if there were enough of them.
func (p *Poller) doubt(c *clue, s source.Slot) {
	if c.proofs++; c.proofs < enoughProofs {
		return
	}
	if c.broken != 0 {
		p.ledger.GiveUp(s, source.MediaError)
	} else if p.ledger.GiveUp(s, source.NoMedia) {
		p.gone = s
	}
}

func (p *Poller) keep(s source.Slot, c clue) {
	if c != (clue{}) {
		p.clues[s] = c
	}
}

// forgetClues drops the clues to slots that have ended or are there.
func (p *Poller) forgetClues() {
	maps.DeleteFunc(p.clues, func(s source.Slot, _ clue) bool {
		wanted, ok := p.ledger.Wanted(s)
		return !ok || wanted != s
	})
}

// expired returns the newest slot whose grace is over.
func (p *Poller) expired(now source.Slot) source.Slot {
	if p.unsure() {
		return 0
	}
	edge := now.Add(-p.longestWait())
	if usual, known := p.estimate.visibleAfter(); known {
		usually := now.Add(-usual - p.opts.Grace)
		if p.complete() {
			return usually
		}
		return max(min(usually, p.newest), edge)
	}
	return edge
}

// deadline returns when a slot's grace is over. It begins where the slot usually is
// visible. Where there is nothing newer yet, media may have become later than it was.
func (p *Poller) deadline(s source.Slot) source.Slot {
	if p.unsure() {
		return math.MaxInt64
	}
	if usual, known := p.estimate.visibleAfter(); known && (p.newest >= s || p.complete()) {
		return s.Add(usual + p.opts.Grace)
	}
	return s.Add(p.longestWait())
}

// longestWait returns how long after its instant a slot may still turn up, at most.
func (p *Poller) longestWait() time.Duration {
	usual, _ := p.estimate.visibleAfter()
	wait := max(patience, max(usual, p.opts.Lag)+p.opts.Grace)
	p.wait.Store(int64(wait))
	return wait
}

func (p *Poller) unsure() bool { return p.opts.Unsure != nil && p.opts.Unsure() }

// learn takes note of where the visible media ends, if the answer shows it.
func (p *Poller) learn(a *answer) {
	if !a.live {
		return
	}
	newest, ok := a.newest()
	if a.again && newest <= max(p.estimate.edge, p.trailed) {
		return
	}
	p.cut = false
	if p.learnTrailing(a) {
		p.misses = 0
		p.polled(a.asked)
		return
	}
	if ok && newest == a.End && !a.aligned {
		p.estimate.tooLate(a.seen.Sub(a.End))
		p.misses = 0
		if p.cut = p.estimate.varies(); p.cut {
			p.pollAt = 0
		}
		p.polled(a.asked)
		return
	}
	begin := p.begin(a, newest)
	if !ok {
		if p.shown.lacks(a.Start, a.End) { // it begins too late to tell
			p.polled(a.asked)
			return
		}
		newest, begin = a.earlier, a.earlierBegin
	}
	p.learnEdge(begin, newest, a.End, a.seen, a.aligned)
	if i, ok := a.index(newest.Add(a.Interval).Time()); ok && a.open[i] && !p.cadence.slow() {
		p.estimate.whole = false // the fragment may go on
	}
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
		p.estimate.missed(asked)
		// Only the poll that was due says something about the delay: those after it may
		// be waiting for a camera that is off.
		due, ok := p.estimate.due()
		early := ok && asked < due && !p.estimate.varies()
		if p.misses == 0 && !p.probing() && !early {
			p.estimate.tooEarly()
		}
		if !early {
			p.misses++
		}
	}
	p.polled(asked)
}

func (p *Poller) polled(asked source.Slot) {
	p.polls++
	p.estimate.polledAt = asked
	p.longest.Store(int64(p.longestFragment()))
	if fragment, known := p.estimate.fragment(); known {
		p.fragment.Store(int64(fragment))
	}
	if visible, known := p.estimate.visibleAfter(); known {
		p.visible.Store(int64(visible))
	}
	if p.opts.Lag == Auto {
		p.lag.Store(int64(p.estimate.delay))
	}
}
