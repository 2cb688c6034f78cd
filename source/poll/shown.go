package poll

import (
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// maxShown is how many runs of media, and how many starts of fragments, are remembered.
const maxShown = 64

// fewSlots is how many slots in a row are without a picture at most if that is because their
// pictures failed.
const fewSlots = 2

// shown is what answers have shown of the media around the slots that are missing. A window
// that begins where a fragment starts has all the media after that. A window that lacks media
// which was there before has begun too late to prove anything.
type shown struct {
	runs   []mediaRun    // in order
	starts []source.Slot // a fragment starts within a slot after each of these; in order
}

// A mediaRun is slots in a row that have media.
type mediaRun struct{ first, last source.Slot }

// add takes note of an answer. Media that begins or ends where a page does tells nothing: it
// may have become visible between two pages, and pages fail one by one.
func (m *shown) add(a *answer, page int) {
	first := slices.Index(a.media, true)
	if first < 0 {
		return
	}
	if first%page != 0 && !a.open[first-1] {
		m.addStart(a.slot(first - 1)) // of a fragment before it, the answer has nothing
	}
	for i := first; i < len(a.media); i++ {
		if !a.media[i] {
			continue
		}
		s := a.slot(i)
		m.addMedia(s, a.Interval)
		if i+1 < len(a.media) && (i+1)%page != 0 && !a.media[i+1] && !a.open[i+1] && !a.resumes(i+1) {
			m.addStart(s)
		}
	}
}

// resumes tells whether there is media right after a slot without any: its picture may have
// failed.
func (a *answer) resumes(i int) bool {
	end := min(i+1+fewSlots, len(a.media))
	return slices.Contains(a.media[i+1:end], true)
}

func (m *shown) addStart(s source.Slot) {
	if i, found := slices.BinarySearch(m.starts, s); !found {
		m.starts = slices.Insert(m.starts, i, s)
	}
	if n := len(m.starts); n > maxShown {
		m.starts = slices.Delete(m.starts, 0, n-maxShown)
	}
}

func (m *shown) addMedia(s source.Slot, interval time.Duration) {
	// The first run that does not end before s.
	i, _ := slices.BinarySearchFunc(m.runs, s, func(r mediaRun, s source.Slot) int { return int(r.last - s) })
	switch {
	case i < len(m.runs) && m.runs[i].first <= s:
		return
	case i > 0 && m.runs[i-1].last.Add(interval) == s:
		m.runs[i-1].last = s
		if i < len(m.runs) && m.runs[i].first == s.Add(interval) {
			m.runs[i-1].last = m.runs[i].last
			m.runs = slices.Delete(m.runs, i, i+1)
		}
	case i < len(m.runs) && m.runs[i].first == s.Add(interval):
		m.runs[i].first = s
	default:
		m.runs = slices.Insert(m.runs, i, mediaRun{s, s})
	}
	if n := len(m.runs); n > maxShown {
		m.runs = slices.Delete(m.runs, 0, n-maxShown)
	}
}

// start returns the last instant before a slot after which a fragment starts, and false where
// none is known.
func (m *shown) start(s source.Slot) (source.Slot, bool) {
	i, _ := slices.BinarySearch(m.starts, s)
	if i == 0 {
		return 0, false
	}
	return m.starts[i-1], true
}

// startsAfter tells whether a fragment is known to start right after a slot.
func (m *shown) startsAfter(s source.Slot) bool {
	_, found := slices.BinarySearch(m.starts, s)
	return found
}

// lacks tells whether a window from one slot on began too late for another one: there is media
// between them that it should have had, though it had none, and no fragment is known to start
// between them.
func (m *shown) lacks(from, s source.Slot) bool {
	if start, ok := m.start(s); ok && start >= from {
		return false
	}
	i, _ := slices.BinarySearchFunc(m.runs, from+1, func(r mediaRun, s source.Slot) int { return int(r.last - s) })
	return i < len(m.runs) && m.runs[i].first < s
}
