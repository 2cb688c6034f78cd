package poll

import (
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// The limits of one GetImages request.
const (
	// MaxWindow is the longest range.
	MaxWindow = 300 * time.Second
	// MaxOverlap is the longest overlap: a window has at least as many new slots as
	// overlapping ones.
	MaxOverlap = MaxWindow / 2
	// PageSlots is how many images come in one page at most, without a continuation
	// token. Pages may hold fewer: see [Pager].
	PageSlots = 25
	// MaxWidth is the largest width in pixels that can be asked for.
	MaxWidth = 3840
	// MaxHeight is the largest height.
	MaxHeight = 2160
	// minWindow is the shortest range: shorter ones were sometimes rejected.
	minWindow = time.Second
)

const (
	// newPerOverlap is how many new slots a long window has for each that overlaps.
	newPerOverlap = 4
	// maxSlots is how many slots a long window has at most, unless a fragment or the overlap is
	// longer than that: all frames of a window may have to wait for a slot of an earlier one.
	maxSlots = 4 * PageSlots
)

// What bounds the work of a stream, however small pages and however long fragments are:
//
//   - One window is under way at a time. It has maxSlots slots at most, or as many as a
//     fragment or twice the overlap.
//   - So half of a window is new, or all but the slot before it if it begins where a fragment
//     does: if images come twice as fast as slots pass, and a little more for what is asked
//     for again, a backlog becomes shorter.
//   - The overlap is no longer than fragments may be, and a poller that is behind does not take
//     all that is new to it for one: see [estimate.single] and [Poller.suffices].
//   - A cycle asks for a range again maxRepeats times at most, and earlyRetry passes before
//     the next one: that is all where nothing new comes.

// wants are the slots that are wanted, and their grid.
type wants interface {
	Grid() source.Grid
	Wanted(from source.Slot) (source.Slot, bool)
}

// A need says what the next window has to take into account.
type need struct {
	// from is the first slot to look at: earlier ones have been asked for already.
	from source.Slot
	// horizon is the newest slot worth asking for.
	horizon source.Slot
	// overlap is how long before the first wanted slot the window has to start, so
	// that the fragment holding that slot starts within the window.
	overlap time.Duration
	// fragment is the expected length of a fragment, and known tells whether it was learned.
	// After a window that ends inside of a fragment, the next one has to overlap it.
	fragment time.Duration
	known    bool
}

// plan returns the next window to ask for, and false where nothing is wanted.
//
// The service selects fragments by their start: of a fragment that is already running
// when the window opens it returns nothing. So a window starts before the first wanted
// slot, by at least one slot and by the overlap that is needed. It ends where what is
// wanted ends, at the horizon, or where one answer is full.
func plan(l wants, n need) (Window, bool) {
	grid := l.Grid()
	first, ok := l.Wanted(n.from)
	horizon := grid.Floor(n.horizon)
	if !ok || first > horizon {
		return Window{}, false
	}
	back := max(n.overlap, grid.Interval())
	start := max(grid.Floor(first.Add(-back)), grid.Ceil(first.Add(-MaxWindow)))

	last := min(horizon, lastSlot(grid, start, first, n))
	end := first
	for {
		next, ok := l.Wanted(grid.Step(end, 1))
		if !ok || next > last {
			break
		}
		// What lies between two wanted slots is paid for again. If that costs more than
		// the overlap of a new window, a new window is cheaper.
		if next.Sub(end) > back+grid.Interval() {
			break
		}
		end = next
	}
	if end.Sub(start) < minWindow {
		start = grid.Floor(end.Add(-minWindow))
	}
	return Window{Start: start, End: end, Interval: grid.Interval()}, true
}

// lastSlot returns the last slot that fits into a window from start. Normally that is
// what one page may hold. It is more where that is cheaper: the window after one that
// ends inside of a fragment overlaps it by a fragment, and that overlap should be at most
// a fifth of the window. It is never beyond the longest range.
//
// How many images a page holds does not matter: what comes before a page that fails stands,
// and the window after it overlaps as much as one after a window that ended there. A window
// has at least as many new slots as overlapping ones, or it would cost more and more.
func lastSlot(grid source.Grid, start, first source.Slot, n need) source.Slot {
	longest := grid.Floor(start.Add(MaxWindow))
	short := grid.Step(start, PageSlots-1)
	cheap := grid.Floor(first.Add(newPerOverlap * max(first.Sub(start), n.fragment)))
	most := max(grid.Step(start, maxSlots-1), first.Add(first.Sub(start)))
	if n.known { // a fragment that is asked for in parts costs an overlap each
		most = max(most, first.Add(n.fragment*5/4))
	}
	return min(max(short, cheap), most, longest)
}
