package poll

import (
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

const (
	// sampleSize is how many of the newest fragments an estimate is made of, and
	// minSample how few suffice.
	sampleSize = 8
	minSample  = 2
	// earlyShare is the share of polls that may come too early. A poll that comes too
	// early costs a request, one that comes too late costs freshness.
	earlyShare = 0.05
	// The estimate of the delay moves by steps between these. They grow after longStreak
	// polls with the same result, which is more than that share makes likely.
	minStep    = 50 * time.Millisecond
	maxStep    = time.Second
	longStreak = 30
)

// An estimate is what the answers tell about how a stream's media becomes visible: in
// whole fragments, each some time after its end. The edge is the newest visible slot,
// where an answer showed that there is nothing after it.
type estimate struct {
	interval   time.Duration // of the slots
	edge       source.Slot
	whole      bool            // all slots of the edge's fragment are before it or have been asked for
	slack      time.Duration   // by how much the end of the pictures may be off the end of a fragment
	advances   []time.Duration // between successive edges, newest last
	maxAdvance time.Duration   // the longest of all
	delay      time.Duration   // from the edge's time until it was visible; 0 while unknown
	least      time.Duration   // of the delay, because nothing younger is asked for
	bounded    bool            // the delay has once been too short
	step       time.Duration
	early      bool // the last poll found nothing
	streak     int  // polls in a row with that result
}

// advance takes note of a new edge, seen in the answer to a request made at the time
// asked. The media from begin to the edge has no hole.
func (e *estimate) advance(begin, edge, asked source.Slot) {
	// Where slots are further apart than fragments are long, media can begin after the
	// newest slot: its length is not known then.
	e.note(edge.Sub(max(e.edge, begin.Add(-e.interval))))
	e.edge = edge
	_, known := e.fragment()
	switch age := asked.Sub(edge); {
	case e.delay == 0 || !e.bounded && age < e.delay || age < e.delay-e.interval:
		e.delay = age
	case known && !e.bounded:
		// The first estimate is how old the media happened to be: try shorter ones until
		// one is too short.
		e.delay = e.delay * 3 / 4
		e.bounded = e.delay < e.least
	case known:
		e.move(false)
	}
	e.delay = max(e.delay, e.least)
}

// note takes note of the length of media that became visible, unless it is impossible.
func (e *estimate) note(length time.Duration) {
	if length <= 0 || length > max(MaxFragment, e.interval) {
		return
	}
	e.advances = append(e.advances, length)
	e.maxAdvance = max(e.maxAdvance, length)
	if len(e.advances) > sampleSize {
		e.advances = slices.Delete(e.advances, 0, 1)
	}
}

// tooEarly takes note of a poll that found nothing new.
func (e *estimate) tooEarly() {
	if _, known := e.fragment(); !known {
		return
	}
	if !e.bounded {
		e.delay, e.bounded = e.delay*4/3, true
		return
	}
	e.move(true)
}

// tooLate takes note of a poll that found media of this age, the youngest that it asked
// for: the delay is shorter than was thought.
func (e *estimate) tooLate(age time.Duration) { e.delay = min(e.delay, age) }

// move follows the (1-earlyShare) quantile of the delay by the steps of Robbins and
// Monro (1951): a little down after each poll that found something, much up after each
// that did not. With Kesten's acceleration (1958) the steps grow as long as they go the
// same way.
func (e *estimate) move(early bool) {
	if e.streak++; early != e.early {
		e.early, e.streak = early, 1
	}
	if e.step = min(2*e.step, maxStep); e.streak < longStreak {
		e.step = min(max(minStep, e.interval/100), maxStep)
	}
	if e.delay = max(e.delay, e.least); early {
		e.delay += scale(e.step, 1-earlyShare)
	} else {
		e.delay = max(e.delay-scale(e.step, earlyShare), time.Millisecond)
	}
}

func scale(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }

// fragment returns the estimated length of a fragment, false while unknown. It is the
// mean of the shortest advances, which differ by a slot where a fragment is not a whole
// number of slots. Longer advances are due to fragments that did not become visible.
func (e *estimate) fragment() (time.Duration, bool) {
	if len(e.advances) < minSample {
		return 0, false
	}
	limit := slices.Min(e.advances) + e.interval + e.slack
	var sum time.Duration
	n := 0
	for _, a := range e.advances {
		if a <= limit {
			sum += a
			n++
		}
	}
	return sum / time.Duration(n), true
}

// longest returns a length that fragments hardly reach: twice that of the longest one,
// or of what became visible at once. Where lengths vary, all fragments count.
func (e *estimate) longest() time.Duration {
	switch {
	case e.steady():
		return min(2*slices.Max(e.advances), MaxFragment)
	case len(e.advances) < sampleSize:
		return MaxFragment
	default:
		return min(2*e.maxAdvance, MaxFragment)
	}
}

// steady tells whether all fragments are of the same length. Where some have not become
// visible, the edge has advanced by several at once.
func (e *estimate) steady() bool {
	if len(e.advances) <= 2*minSample {
		return false
	}
	shortest := slices.Min(e.advances)
	if 4*e.slack > shortest {
		return false
	}
	for _, a := range e.advances {
		if off := a % shortest; min(off, shortest-off) > e.slack {
			return false
		}
	}
	return true
}

// due returns when new media should become visible, false while unknown.
func (e *estimate) due() (source.Slot, bool) {
	f, ok := e.fragment()
	if !ok || e.delay == 0 {
		return 0, false
	}
	return e.edge.Add(f + e.delay), true
}
