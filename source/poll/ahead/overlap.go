package ahead

import (
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/source/poll"
)

const (
	// firstOverlap is the overlap until enough windows have been answered.
	firstOverlap = 10 * time.Second
	enoughHeads  = 6
	// headSample is how many of the last windows tell how long fragments are.
	headSample = 32
	// longestHead is the most of a window's beginning without media that is taken for a fragment
	// that was running already. More is an outage.
	longestHead = poll.MaxOverlap
	// newPerOverlap is how many slots a window is for, for each that it overlaps, and leastSlots
	// how many at least.
	newPerOverlap = 30
	leastSlots    = 4 * poll.PageSlots
)

// heads are how long the beginnings of the last windows were without media: each is what was
// left of a fragment, so that the longest are nearly as long as one.
type heads struct{ last []time.Duration }

func (h *heads) add(d time.Duration) {
	if d > longestHead {
		return
	}
	if h.last = append(h.last, d); len(h.last) > headSample {
		h.last = slices.Delete(h.last, 0, 1)
	}
}

// overlap returns how long before the first slot that it is for a window begins. What turns
// out too short costs a few images more at that window. A single long head tells nothing: it
// may be an outage.
func (h *heads) overlap(interval time.Duration) time.Duration {
	if len(h.last) < enoughHeads {
		return firstOverlap
	}
	sorted := slices.Sorted(slices.Values(h.last))
	d := sorted[len(sorted)-2]
	return d + d/8 + interval
}

// length returns how many slots the next window is for. The first ones are short: they show
// how long fragments are. Lengths differ, so that windows do not all begin at the same place of
// a fragment.
func (f *fetcher) length(overlap time.Duration) int {
	slots := max(leastSlots, newPerOverlap*int(overlap/f.interval))
	if len(f.heads.last) < enoughHeads {
		slots = 2 * leastSlots
	}
	f.begun++
	slots += leastSlots * (f.begun * 7 % 16) / 32
	return max(1, min(slots, int((poll.MaxWindow-overlap)/f.interval)-f.begun*7%16))
}
