package poll

import (
	"math"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

const (
	// listedEnds is how many of the newest fragments tell how long the next may be, and
	// minListedEnds how few suffice.
	listedEnds    = 32
	minListedEnds = 5
	// listHistory is how far back fragments are listed while too few are known.
	listHistory = 2 * time.Minute
	// listSlots is how many slots fragments hold at least on average if the live edge is
	// looked for in lists: asking for the images of fewer costs less.
	listSlots = 2.5
	// A list is checked by images at every checkEvery-th look. If lists are wrong in more
	// than about a third of the checks, they are not relied on until listAfresh has passed.
	checkEvery = 16
	maxDoubts  = 10
	listAfresh = 10 * time.Minute
	// lookShare is what a look at the list is worth: as much as a frame that comes later by
	// this share of a fragment.
	lookShare = 0.06
)

// A listedEdge is what lists tell about when new media is listed.
type listedEdge struct {
	ends    []source.Slot   // of the newest fragments, in order
	lengths []time.Duration // of the newest fragments that others follow
	began   source.Slot     // when the last of these began
	delay   time.Duration   // from the end of a fragment until it is listed
	longest time.Duration   // of the fragments
	looked  source.Slot     // when the list was last looked at
	varies  bool            // fragments differ much in length
	looks   int             // that found nothing wrong
	doubts  int             // how often lists were wrong lately
	again   source.Slot     // lists are not relied on before
}

// since returns from when on to list fragments in order to learn what comes after first.
func (e *listedEdge) since(first source.Slot) source.Slot {
	history := first.Add(-listHistory)
	if len(e.ends) < minListedEnds {
		return history
	}
	return max(history, min(first, e.ends[len(e.ends)-1]))
}

// look takes note of a list.
func (e *listedEdge) look(spans []Span, interval time.Duration, now source.Slot) {
	for i, span := range spans {
		if i+1 < len(spans) { // how long the last one is may be absurd
			e.measure(span)
		}
		last := source.Slot(0)
		if len(e.ends) > 0 {
			last = e.ends[len(e.ends)-1]
		}
		// What is known to have ended may end a little later by another list.
		if span.Start.Add(span.End.Sub(span.Start)/2) <= last {
			continue
		}
		if e.looked != 0 {
			e.learnDelay(span.End, now)
		}
		e.ends = append(e.ends, span.End)
	}
	if len(e.ends) > listedEnds {
		e.ends = slices.Delete(e.ends, 0, len(e.ends)-listedEnds)
	}
	if n := len(e.ends); e.delay == 0 && n > 0 {
		e.delay = now.Sub(e.ends[n-1]) // at most
	}
	e.looked = now
	e.learnVaries(interval)
}

// measure takes note of the length of a fragment that another follows.
func (e *listedEdge) measure(span Span) {
	if span.Start.Add(-listHole) <= e.began { // starts are not the same in all lists
		return
	}
	e.began = span.Start
	length := span.End.Sub(span.Start)
	e.longest = max(e.longest, length)
	if e.lengths = append(e.lengths, length); len(e.lengths) > listedEnds {
		e.lengths = slices.Delete(e.lengths, 0, 1)
	}
}

// learnDelay takes note of a fragment that is listed now, and was not at the last look.
func (e *listedEdge) learnDelay(end, now source.Slot) {
	most, least := now.Sub(end), e.looked.Sub(end)
	switch {
	case least >= e.delay:
		e.delay += ((least+most)/2 - e.delay) / 4
	case most < e.delay:
		e.delay -= (e.delay - most) / 2
	}
}

// mean returns the average length of a fragment, 0 while too little is known.
func (e *listedEdge) mean() time.Duration {
	n := len(e.ends)
	if n < minListedEnds {
		return 0
	}
	return e.ends[n-1].Sub(e.ends[0]) / time.Duration(n-1)
}

// next returns when to look for the fragment that holds a slot, if there is media up to
// edge. It returns false if the fragment should have been there before now, or too little
// is known.
func (e *listedEdge) next(edge, s, now source.Slot) (source.Slot, bool) {
	mean := e.mean()
	if mean == 0 || e.delay == 0 {
		return 0, false
	}
	last := max(e.ends[len(e.ends)-1], edge+1)
	after, waited := max(s.Sub(last), 0), now.Sub(last.Add(e.delay))
	// How long it took from the end of a fragment until that of the one that held a slot as
	// far away.
	var waits []time.Duration
	for i, j := 0, 0; i < len(e.ends); i++ {
		for j < len(e.ends) && e.ends[j].Sub(e.ends[i]) <= after {
			j++
		}
		if j == len(e.ends) {
			break
		}
		if wait := e.ends[j].Sub(e.ends[i]); wait > waited && wait <= after+max(MaxFragment, 2*e.longest) {
			waits = append(waits, wait)
		}
	}
	if len(waits) == 0 {
		return 0, false
	}
	slices.Sort(waits)
	return last.Add(e.delay + bestLook(waits, time.Duration(float64(mean)*lookShare))), true
}

// bestLook returns when to look first for something that took so long in the past, in
// ascending order. Each look has a price, and so has the time from the event to the next
// look. It is the first step of the plan that is the cheapest on average, found by dynamic
// programming from the longest wait backwards.
func bestLook(waits []time.Duration, price time.Duration) time.Duration {
	n := len(waits)
	costs := make([]time.Duration, n+1) // of the events from the i-th on, if it is none before
	first := 0
	for i := n - 1; i >= 0; i-- {
		costs[i] = math.MaxInt64
		sum := time.Duration(0)
		for j := i; j < n; j++ { // look at the j-th
			sum += waits[j]
			cost := price*time.Duration(n-i) + waits[j]*time.Duration(j-i+1) - sum + costs[j+1]
			if cost < costs[i] {
				costs[i], first = cost, j
			}
		}
	}
	return waits[first]
}

// doubt takes note that images have shown the list to be wrong, and how much that says: it
// had a fragment without images, or lacked one with images. Where that is usual, the live
// edge is looked for with images alone for a while.
func (e *listedEdge) doubt(much int, now source.Slot) {
	if e.doubts += much; e.doubts >= maxDoubts {
		e.doubts, e.again = 0, now.Add(listAfresh)
	}
}

// trust takes note that images have shown the list to be right.
func (e *listedEdge) trust() { e.doubts = max(e.doubts-1, 0) }

// dubious tells whether to look with images for media after an edge, which is where the
// list ends, and how much it says if there is some; 0 is not to look. If nothing is listed
// that is overdue, a single fragment may be missing from the list. At other times, which
// are chosen at random, media shows that lists come later than images.
func (e *listedEdge) dubious(edge, now source.Slot) int {
	e.looks++
	_, expected := e.next(edge, edge+1, now)
	switch {
	case !expected:
		return 1
	case e.doubts > 0 || e.looks%checkEvery == 1:
		return 2
	default:
		return 0
	}
}

// learnVaries takes note of whether fragments differ so much in length that nobody knows
// when the next one ends, and hold enough slots for that to matter. A few that differ do not
// make the difference, but it remains until all are alike.
func (e *listedEdge) learnVaries(interval time.Duration) {
	mean := e.mean()
	if mean == 0 || mean < time.Duration(listSlots*float64(interval)) || len(e.lengths) == 0 {
		e.varies = false
		return
	}
	sorted := slices.Sorted(slices.Values(e.lengths))
	long := sorted[(len(sorted)-1)*15/16]
	if e.varies {
		long = sorted[len(sorted)-1]
	}
	e.varies = long-sorted[0] > max(interval, mean/8)
}

// listsLiveEdge tells whether the live edge is looked for in lists: if fragments vary, and the
// camera has a frame for each slot. Where a list ends says little about when the last frame was.
func (p *Poller) listsLiveEdge() bool {
	return p.listed.varies && !p.cadence.slow() && p.opts.Lag == Auto && p.lists() && p.now() >= p.listed.again
}

// listsHistory tells whether to list the last fragments in order to see whether they vary.
func (p *Poller) listsHistory() bool {
	pause := listAfresh
	if p.listed.mean() == 0 {
		pause = listHistory / 4
	}
	return !p.listed.varies && !p.cadence.slow() && p.opts.Lag == Auto && p.lists() && p.now() >= p.listed.looked.Add(pause)
}

// nextLook returns when to look for new media in a list.
func (p *Poller) nextLook(now source.Slot) source.Slot {
	edge := max(p.newest, p.estimate.edge)
	next, ok := p.listed.next(edge, p.ledger.Grid().Step(edge, 1), now)
	if !ok {
		// The longer nothing comes, the longer the pauses: the camera may be off.
		next = now.Add(min(now.Sub(edge.Add(p.listed.delay))/4, maxUntilMedia))
	}
	return max(next, now.Add(earlyRetry))
}
