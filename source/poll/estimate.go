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
	// growSample is how many fragments in a row have to be late to raise the delay at once.
	growSample = 3
	// highFor is how long a delay is remembered that has become shorter.
	highFor = 5 * time.Minute
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
	jumped     bool            // it came to the edge by more than a fragment
	slack      time.Duration   // by how much the end of the pictures may be off the end of a fragment
	advances   []time.Duration // between successive edges, newest last
	maxAdvance time.Duration   // the longest, of which a little is forgotten with each
	delay      time.Duration   // from the edge's time until it was visible; 0 while unknown
	least      time.Duration   // of the delay, because nothing younger is asked for
	bounded    bool            // the delay has once been too short
	step       time.Duration
	early      bool // the last poll found nothing
	streak     int  // polls in a row with that result

	high     time.Duration             // the longest delay of late
	highAt   source.Slot               // when that was
	missedAt source.Slot               // when a poll last found nothing since the last advance
	polledAt source.Slot               // when the poll before this one was
	later    [growSample]time.Duration // what the delays of the last edges were above
}

// advance takes note of a new edge, seen in the answer to a request made at the time
// asked. The media from begin to the edge has no hole.
func (e *estimate) advance(begin, edge, asked source.Slot) {
	// Where slots are further apart than fragments are long, media can begin after the
	// newest slot: its length is not known then.
	before := begin.Add(-e.interval)
	length := edge.Sub(max(e.edge, before))
	_, known := e.fragment()
	if known && e.least == 0 && before > e.edge && length < e.shortest() {
		// It became visible between two pages of the answer, which came too early.
		e.edge = edge
		e.tooEarly()
		return
	}
	switch {
	case e.single(length, asked):
		e.note(length)
	case !known: // probably several of the only length that is known
		e.note(e.shortest())
	}
	e.edge, e.jumped = edge, length > e.shortest()+e.slack
	defer e.remember(asked)
	least := e.leastDelay()
	if e.grow(least) {
		return
	}
	_, known = e.fragment()
	// Media may have become visible while the answer was under way.
	switch age := max(asked.Sub(edge), time.Millisecond); {
	case e.delay == 0 && age > MaxWindow:
		// The camera is off.
	case e.delay == 0 || !e.bounded && age < e.delay || age < e.delay-e.interval:
		e.delay = age
	case known && e.varies():
		e.narrow(least, age)
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

// single tells whether media of a length that became visible since the last poll may be a
// single fragment. It is as long as the time since then if it is several. To a poller that
// has fallen behind all would seem to be such long ones, so its windows would overlap by more
// and more, and it would never catch up.
func (e *estimate) single(length time.Duration, asked source.Slot) bool {
	return len(e.advances) == 0 || e.polledAt == 0 || asked.Sub(e.polledAt) <= length*3/4 || length <= e.shortest()+e.interval+e.slack
}

// note takes note of the length of media that became visible, unless it is impossible.
func (e *estimate) note(length time.Duration) {
	longest := MaxWindow
	if e.interval > MaxFragment/4 {
		longest = max(MaxFragment, e.interval) // two slots would look like one long fragment
	}
	if length <= 0 || length > longest {
		return
	}
	e.advances = append(e.advances, length)
	e.maxAdvance = max(e.maxAdvance-e.maxAdvance/(8*sampleSize), length)
	if len(e.advances) > sampleSize {
		e.advances = slices.Delete(e.advances, 0, 1)
	}
}

// wentOn takes note of a fragment that starts after one slot, and went on from where it should
// have ended to another slot. So those after it end later, too.
func (e *estimate) wentOn(start, end, last source.Slot) {
	length, off := last.Sub(start), last.Sub(end)
	e.note(length)
	if off < length {
		e.edge, e.whole = e.edge.Add(off), false
	}
}

// remember keeps the longest delay for a while: where the delay becomes shorter at once,
// newer media is visible before older.
func (e *estimate) remember(now source.Slot) {
	if e.bounded && e.delay >= e.high || now.Sub(e.highAt) > highFor {
		e.high, e.highAt = e.delay, now
	}
}

// missed takes note of when a poll found nothing new, which media that is visible later
// has proved to be its least delay.
func (e *estimate) missed(asked source.Slot) { e.missedAt = asked }

// leastDelay returns what the delay of the newest edge was above, by the last poll that found
// nothing before it came; 0 where unknown.
func (e *estimate) leastDelay() (least time.Duration) {
	if e.missedAt != 0 {
		least = e.missedAt.Sub(e.edge)
	}
	e.missedAt = 0
	return least
}

// grow raises the delay to what the last edges all were above, and tells whether it did. A
// single fragment may be late, but several in a row mean that media has become later.
func (e *estimate) grow(least time.Duration) bool {
	copy(e.later[:], e.later[1:])
	e.later[growSample-1] = least
	if least = slices.Min(e.later[:]); e.delay == 0 || least <= e.delay {
		return false
	}
	e.delay, e.bounded = least, true
	return true
}

// narrow takes note of between which delays an edge became visible. Where fragments differ in
// length, that a poll came too early tells nothing more.
func (e *estimate) narrow(least, most time.Duration) {
	e.bounded = e.bounded || least > 0
	switch {
	case least >= e.delay:
		e.delay += ((least+most)/2 - e.delay) / 4
	case most < e.delay:
		e.delay -= (e.delay - most) / 2
	}
}

// tooEarly takes note of a poll that found nothing new.
func (e *estimate) tooEarly() {
	if _, known := e.fragment(); !known {
		return
	}
	switch {
	case !e.bounded:
		e.delay, e.bounded = e.delay*4/3, true
	case !e.varies():
		e.move(true)
	}
}

// tooLate takes note of a poll that found media of this age, the youngest that it asked
// for: the delay is shorter than was thought.
func (e *estimate) tooLate(age time.Duration) {
	e.missedAt = 0
	if age = max(age, time.Millisecond); e.delay == 0 || age < e.delay {
		e.delay = age
	}
}

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
	limit := e.shortest() + e.interval + e.slack
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

// shortest returns the shortest advance but one, once there are some: a camera's clock that
// jumps makes a single one short.
func (e *estimate) shortest() time.Duration {
	var sorted [sampleSize]time.Duration
	n := copy(sorted[:], e.advances)
	slices.Sort(sorted[:n])
	if n > 2*minSample {
		return sorted[1]
	}
	return sorted[0]
}

// longest returns a length that fragments hardly reach: twice that of the longest one,
// or of what became visible at once. Where lengths vary, all fragments count.
func (e *estimate) longest() time.Duration {
	switch {
	case e.steady():
		return min(max(2*slices.Max(e.advances), e.maxAdvance*5/4), MaxWindow)
	case !e.settled():
		return min(max(2*e.maxAdvance, MaxFragment), MaxWindow)
	default:
		return min(2*e.maxAdvance, MaxWindow)
	}
}

// settled tells whether enough is known of the lengths of fragments to rely on it.
func (e *estimate) settled() bool { return len(e.advances) >= sampleSize || e.steady() }

// visibleAfter returns how long after its instant a slot usually is visible, at the
// latest, and false while unknown.
func (e *estimate) visibleAfter() (time.Duration, bool) {
	if len(e.advances) == 0 {
		return e.delay, e.delay > 0
	}
	var sorted [sampleSize]time.Duration
	n := copy(sorted[:], e.advances)
	slices.Sort(sorted[:n])
	return sorted[n/2] + max(e.delay, e.high), e.delay > 0
}

// steady tells whether all fragments are of the same length. Where some have not become
// visible, the edge has advanced by several at once.
func (e *estimate) steady() bool {
	if len(e.advances) <= 2*minSample {
		return false
	}
	shortest := e.shortest()
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

// nextEnd returns when to look for the next fragment, if the newest ones tell how long it may
// be. It returns false if it is longer than all of them.
func (e *estimate) nextEnd(now source.Slot) (source.Slot, bool) {
	waited := now.Sub(e.edge.Add(e.delay))
	var sum time.Duration
	waits := make([]time.Duration, 0, sampleSize)
	for _, a := range e.advances {
		if sum += a; a > waited {
			waits = append(waits, a)
		}
	}
	if len(waits) == 0 || e.delay == 0 {
		return 0, false
	}
	slices.Sort(waits)
	mean := sum / time.Duration(len(e.advances))
	return e.edge.Add(e.delay + bestLook(waits, scale(mean, lookShare))), true
}

// due returns when new media should become visible, false while unknown.
func (e *estimate) due() (source.Slot, bool) {
	f, ok := e.fragment()
	if !ok || e.delay == 0 {
		return 0, false
	}
	return e.edge.Add(f + e.delay), true
}
