package poll

import (
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

const (
	// frameSample is how many of the newest pictures tell a camera's rate, and advanceSample
	// how many advances of the visible edge tell how many of them a fragment has.
	frameSample   = 16
	advanceSample = 16
	// minSums is how few distances of pictures suffice for the shortest of them, and
	// minAdvances how few advances.
	minSums     = 4
	minAdvances = 8
)

// A cadence is what the answers tell about the frames of a camera that has fewer than it is
// asked for. Between two of them are slots without a picture, which look like those of a
// fragment that is not visible yet.
//
// They are told apart by what a hidden fragment takes away: at least one picture, so the
// pictures around it are as far apart as those with one between them, and farther where
// fragments are known to have more. A distance below the shortest of these seen lately has
// nothing hidden in it. Fragments that are hidden or late make distances longer, never
// shorter, so they teach nothing wrong; and two or three pictures of a camera that became
// faster are enough to expect the shorter distances.
type cadence struct {
	interval time.Duration // of the slots
	frames   []source.Slot // when the newest pictures are of, in order
	counts   []int         // of the pictures that the last advances of the edge showed
}

// add takes note of a picture by its own timestamp.
func (c *cadence) add(at source.Slot) {
	i, _ := slices.BinarySearch(c.frames, at)
	// A picture that comes twice may be some milliseconds off.
	twice := func(i int) bool {
		return i >= 0 && i < len(c.frames) && c.slots(c.frames[i], at) == 0
	}
	if twice(i) || twice(i-1) {
		return
	}
	if c.frames = slices.Insert(c.frames, i, at); len(c.frames) > frameSample {
		c.frames = slices.Delete(c.frames, 0, 1)
	}
}

// slots returns how many slots two instants are apart, each taken as the closest slot.
func (c *cadence) slots(from, to source.Slot) int {
	g := source.Slot(c.interval.Milliseconds())
	return int((to+g/2)/g - (from+g/2)/g)
}

// advance takes note of the edge of the visible media that came to a new slot.
func (c *cadence) advance(from, to source.Slot) {
	n := 0
	for _, at := range c.frames {
		if c.slots(from, at) > 0 && c.slots(at, to) >= 0 {
			n++
		}
	}
	if c.counts = append(c.counts, n); len(c.counts) > advanceSample {
		c.counts = slices.Delete(c.counts, 0, 1)
	}
}

// slow tells whether the camera has fewer frames than there are slots. Single slots without
// a picture do not tell, nor do distances much longer than most: something is hidden there.
func (c *cadence) slow() bool {
	n := 0
	all := c.distances()
	for _, d := range all {
		if d > c.interval && d <= c.limit(all) {
			n++
		}
	}
	return n > 2
}

// distances returns the distances between neighbouring pictures, in slots, the shortest
// first.
func (c *cadence) distances() []time.Duration {
	all := make([]time.Duration, 0, frameSample)
	for i := 1; i < len(c.frames); i++ {
		all = append(all, time.Duration(c.slots(c.frames[i-1], c.frames[i]))*c.interval)
	}
	slices.Sort(all)
	return all
}

// limit returns up to which a distance is a usual one.
func (c *cadence) limit(sorted []time.Duration) time.Duration {
	return (3*sorted[len(sorted)/2] + c.interval) / 2
}

// perFragment returns how many pictures a fragment has at least: 1 where the fragments
// differ too much to tell.
func (c *cadence) perFragment() int {
	if len(c.counts) < minAdvances {
		return 1
	}
	fewest := slices.Min(c.counts)
	if slices.Max(c.counts) > 2*fewest {
		return 1
	}
	return max(fewest, 1)
}

// shortest returns the shortest distance between pictures that are n apart, and false
// where too few are known.
func (c *cadence) shortest(n int) (time.Duration, bool) {
	if len(c.frames)-n < minSums {
		return 0, false
	}
	d := c.frames[n].Sub(c.frames[0])
	for i := n + 1; i < len(c.frames); i++ {
		d = min(d, c.frames[i].Sub(c.frames[i-n]))
	}
	return d, true
}

// hidden returns how far apart two pictures are at least if a fragment between them is
// hidden, and false while unknown.
func (c *cadence) hidden() (time.Duration, bool) {
	return c.apart(max(2, min(c.perFragment()+1, len(c.frames)-minSums)))
}

// apart returns how far apart pictures are at least of which one is the n-th after the other.
func (c *cadence) apart(n int) (time.Duration, bool) {
	if !c.slow() {
		return 0, false
	}
	d, ok := c.shortest(n)
	if !ok {
		return 0, false
	}
	one, _ := c.shortest(1)
	return d - one/4, true // the shortest of all may not be among the last
}

// usual returns the longest of the usual distances between neighbouring pictures, and how
// much longer it is than the shortest. Where the camera left out a frame, it is longer yet.
func (c *cadence) usual() (longest, spread time.Duration) {
	if !c.slow() {
		return c.interval, 0
	}
	all := c.distances()
	for _, d := range all {
		if d <= c.limit(all) {
			longest = d
		}
	}
	return longest, longest - all[0]
}

// between tells whether the pictures have timestamps between the slots. Then the service may
// give a picture for the slot before or after the closest one.
func (c *cadence) between() bool {
	for _, at := range c.frames {
		if off := at.Sub(0) % c.interval; min(off, c.interval-off) > c.interval/4 {
			return true
		}
	}
	return false
}

// adjacent tells whether pictures of these times have none between them, visible or not,
// as far as it is known.
func (c *cadence) adjacent(from, to source.Slot) bool {
	hidden, ok := c.hidden()
	return c.slots(from, to) <= 1 || ok && to.Sub(from) < hidden || len(c.frames) < minSums+2
}

// before returns the last known picture before an instant, and false where there is none.
func (c *cadence) before(at source.Slot) (source.Slot, bool) {
	i, _ := slices.BinarySearch(c.frames, at)
	for i--; i >= 0; i-- {
		if c.slots(c.frames[i], at) > 0 {
			return c.frames[i], true
		}
	}
	return 0, false
}

// endBetween ends the slots of an answer that lie between two frames of a slow camera: the
// service has all that there is between them. whole says that the window begins with a
// fragment.
func (p *Poller) endBetween(a *answer, whole bool) {
	for i, media := range a.media {
		if media {
			p.cadence.add(a.times[i])
		}
	}
	hidden, ok := p.cadence.hidden()
	if !ok || p.unsure() {
		return
	}
	before, known := p.cadence.before(a.Start.Add(a.Interval))
	// The fragments after the edge start within the window.
	known = known && (whole || a.Start <= p.ledger.Grid().Nearest(before) && p.endsAt(p.ledger.Grid().Nearest(before)))
	done := 0
	// If its fragment did not end there, the window lacks the rest of it, of any length.
	// What says neither that there is a picture nor that there is none may be one, but none of
	// a camera that has none so soon.
	one, _ := p.cadence.apart(2)
	limit := one
	for i, media := range a.media {
		if !media {
			continue
		}
		if known && a.times[i].Sub(before) < limit {
			for ; done < i; done++ {
				if !a.open[done] || a.times[i].Sub(before) < one {
					p.ledger.GiveUp(a.slot(done), source.NoMedia)
				}
			}
		}
		before, known, done, limit = a.times[i], true, i+1, hidden
	}
}

// begin returns where the media begins that reaches up to a picture, the newest of an
// answer, without a hole, and an instant after it where that is not known.
func (p *Poller) begin(a *answer, newest source.Slot) source.Slot {
	unknown := newest.Add(2 * a.Interval)
	next, gaps := newest, false
	for i := len(a.media) - 1; i >= 0; i-- {
		if !a.media[i] || a.slot(i) >= next {
			continue
		}
		if !p.cadence.adjacent(a.times[i], next) {
			break
		}
		gaps = gaps || p.cadence.slots(a.times[i], next) > 1
		next = a.slot(i)
	}
	before, ok := p.cadence.before(next)
	switch {
	case ok && p.cadence.adjacent(before, next):
		return p.ledger.Grid().Nearest(before).Add(a.Interval)
	case gaps || next == newest || p.cadence.slow():
		return unknown
	}
	return next
}
