package poll

import (
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// What GetImages takes in one request.
const (
	// MaxWindow is the longest range.
	MaxWindow = 300 * time.Second
	// PageSlots is how many images come in one answer, so that no continuation
	// token is needed.
	PageSlots = 25
	// minWindow: shorter windows were sometimes rejected.
	minWindow = time.Second
	// overlapShare is how many new slots a long window has for each that overlaps.
	overlapShare = 4
	// maxPages is how many pages a long window has.
	maxPages = 4
)

// A Need says what the next window has to take into account.
type Need struct {
	// Horizon is the newest slot worth asking for.
	Horizon source.Slot
	// From is the first slot to look at: earlier ones have had their turn.
	From source.Slot
	// Overlap is how far before the first wanted slot the window has to start,
	// so that the fragment holding that slot starts within the window.
	Overlap time.Duration
	// Fragment is the expected length of a fragment, 0 where unknown. A window that
	// ends inside of one makes the next overlap it.
	Fragment time.Duration
}

// Plan returns the next window to ask for, and false where nothing is wanted.
//
// The service selects fragments by their start: of the one that is running when
// the window opens it returns nothing. So a window starts before the first wanted
// slot, by at least one slot and by the overlap that is needed. It ends where
// what is wanted ends, at the horizon, or where one answer is full.
func Plan(l *source.Ledger, n Need) (Window, bool) {
	grid := l.Grid()
	first, ok := l.Wanted(n.From)
	horizon := grid.Floor(n.Horizon)
	if !ok || first > horizon {
		return Window{}, false
	}
	back := max(n.Overlap, grid.Interval())
	start := max(grid.Floor(first.Add(-back)), grid.Ceil(first.Add(-MaxWindow)))

	last := min(horizon, lastSlot(grid, start, first, n.Fragment))
	end := first
	for {
		next, ok := l.Wanted(grid.Step(end, 1))
		if !ok || next > last {
			break
		}
		// What lies between two wanted slots is paid for again: where that is more
		// than a new window's overlap would cost, a new window is cheaper.
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

// lastSlot returns the last slot that fits into a window from start. That is a
// page full of images, or some pages where more than a page makes it cheaper: the
// window that follows one that ends inside of a fragment overlaps by a fragment,
// which is to be a fifth of it at the most. It is never beyond the longest range.
func lastSlot(grid source.Grid, start, first source.Slot, fragment time.Duration) source.Slot {
	page := grid.Step(start, PageSlots-1)
	cheap := grid.Floor(first.Add(overlapShare * max(first.Sub(start), fragment)))
	pages := max(grid.Step(start, maxPages*PageSlots-1), grid.Step(first, PageSlots))
	return min(max(page, cheap), pages, grid.Floor(start.Add(MaxWindow)))
}
