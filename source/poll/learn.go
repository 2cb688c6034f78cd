package poll

import (
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

const (
	// sample is how many of the newest fragments an estimate is made of.
	sample = 8
	// enough fragments make an estimate.
	enough = 2
	// missRate is the share of polls that may come too early. A poll that comes
	// too early costs a request, one that comes too late costs freshness.
	missRate = 0.05
	// The estimate of the delay moves by steps between these, and they grow after
	// more polls with the same result than the share above lets expect.
	minStep = 50 * time.Millisecond
	maxStep = time.Second
	streak  = 30
)

// learned is what the answers tell about how a stream's media becomes visible:
// in whole fragments, each some time after its end. The edge is the newest
// visible slot, where an answer showed that there is nothing after it.
type learned struct {
	interval time.Duration // of the slots
	edge     source.Slot
	advances []time.Duration // between successive edges, newest last
	record   time.Duration   // the longest of all
	delay    time.Duration   // from the edge's time until it was visible; 0 while unknown
	settled  bool            // the delay has once been too short
	step     time.Duration
	early    bool // the last poll found nothing
	same     int  // successive polls with that result
}

// advance takes note of a new edge, seen in the answer to a question asked at the
// time asked, with media from begin on that is without a hole.
func (l *learned) advance(begin, edge, asked source.Slot) {
	length := edge.Sub(max(l.edge, begin.Add(-l.interval)))
	// Where slots are longer than fragments, media can begin after the newest slot: its
	// length is not known then.
	if length > 0 && length <= max(MaxFragment, l.interval) {
		l.advances = append(l.advances, length)
		l.record = max(l.record, length)
		if len(l.advances) > sample {
			l.advances = slices.Delete(l.advances, 0, 1)
		}
	}
	l.edge = edge
	_, known := l.fragment()
	switch age := asked.Sub(edge); {
	case l.delay == 0 || !l.settled && age < l.delay || age < l.delay-l.interval:
		l.delay = age
	case known && !l.settled:
		// The first estimate is how old the media happened to be: try shorter ones
		// until one is too short.
		l.delay = l.delay * 3 / 4
	case known:
		l.move(false)
	}
}

// tooEarly takes note of a poll that found nothing new.
func (l *learned) tooEarly() {
	if _, known := l.fragment(); !known {
		return
	}
	if !l.settled {
		l.delay, l.settled = l.delay*4/3, true
		return
	}
	l.move(true)
}

// tooLate takes note of a poll that found media of this age, the youngest that it
// asked for: the delay is shorter than was thought.
func (l *learned) tooLate(age time.Duration) { l.delay = min(l.delay, age) }

// move follows the delay's quantile 1-missRate by the steps of Robbins and Monro
// (1951), a little down after each poll that found something, much up after each
// that did not; and with Kesten's acceleration (1958): the steps grow as long as
// they go the same way.
func (l *learned) move(early bool) {
	if l.same++; early != l.early {
		l.early, l.same = early, 1
	}
	if l.step = min(2*l.step, maxStep); l.same < streak {
		l.step = minStep
	}
	if early {
		l.delay += scale(l.step, 1-missRate)
	} else {
		l.delay = max(l.delay-scale(l.step, missRate), time.Millisecond)
	}
}

func scale(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }

// fragment returns the estimated length of a fragment, false while unknown: the
// mean of the shortest advances, which differ by a slot where a fragment is not a
// whole number of slots. Longer ones are of fragments that did not become visible.
func (l *learned) fragment() (time.Duration, bool) {
	if len(l.advances) < enough {
		return 0, false
	}
	limit := slices.Min(l.advances) + l.interval
	var sum time.Duration
	n := 0
	for _, a := range l.advances {
		if a <= limit {
			sum += a
			n++
		}
	}
	return sum / time.Duration(n), true
}

// longest returns a length that fragments hardly reach, twice that of the longest
// one, or of what became visible at once. Where lengths vary, all fragments count.
func (l *learned) longest() time.Duration {
	switch {
	case l.steady():
		return min(2*slices.Max(l.advances), MaxFragment)
	case len(l.advances) < sample:
		return MaxFragment
	default:
		return min(2*l.record, MaxFragment)
	}
}

// steady tells whether all fragments are of the same length. Where some have not
// become visible, the edge has advanced by several at once.
func (l *learned) steady() bool {
	if len(l.advances) <= 2*enough {
		return false
	}
	shortest := slices.Min(l.advances)
	for _, a := range l.advances {
		if a%shortest != 0 {
			return false
		}
	}
	return true
}

// due returns when new media should become visible, false while unknown.
func (l *learned) due() (source.Slot, bool) {
	f, ok := l.fragment()
	if !ok || l.delay == 0 {
		return 0, false
	}
	return l.edge.Add(f + l.delay), true
}
