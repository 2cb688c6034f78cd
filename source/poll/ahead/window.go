package ahead

import (
	"errors"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// A window is what one request asks for ahead of the poller. It begins some time before the
// first slot that it is for.
type window struct {
	poll.Window
	first   source.Slot // that it is for
	entries []entry     // by slot
	reached source.Slot // the newest slot of any entry of the answer
	news    bool        // something has come
	whole   bool        // the answer is complete, and is being repaired
	done    bool        // that is done, too, or it has broken off
	err     error       // why it broke off
	told    bool        // to the poller
	after   int         // how many windows had been answered by then
	stop    func()
}

// An entry is what a window knows of a slot.
type entry struct {
	state entryState
	img   poll.Image
	used  bool // that there is no picture was said once
}

type entryState uint8

const (
	nothing entryState = iota
	failed             // there is an error of it
	waiting            // its picture waits for the poller
	passed             // the poller has got its picture, or another window has it
)

func newWindow(w poll.Window, first source.Slot) *window {
	return &window{Window: w, first: first, entries: make([]entry, w.Slots()), reached: w.Start - 1, stop: func() {}}
}

// entry returns what the window knows of a slot, nil if it is outside of it.
func (w *window) entry(s source.Slot) *entry {
	if s < w.Start || s > w.End {
		return nil
	}
	return &w.entries[s.Sub(w.Start)/w.Interval]
}

// owns tells whether the window was asked for because of a slot.
func (w *window) owns(s source.Slot) bool { return s >= w.first && s <= w.End }

// decided tells whether a slot whose picture has not come has none. Pages are in the order of
// time, whatever the order within.
func (w *window) decided(s source.Slot) bool {
	if w.whole || w.done {
		return w.done && w.err == nil
	}
	return w.reached.Sub(s) >= 2*poll.PageSlots*w.Interval && w.between(s)
}

// between tells whether the window has pictures on both sides of a slot, and so near that each
// page with slots between them has one: then the answer came from the right place.
func (w *window) between(s source.Slot) bool {
	before, after := s, s
	for before >= w.Start && !w.has(before) {
		before = before.Add(-w.Interval)
	}
	for after <= w.End && !w.has(after) {
		after = after.Add(w.Interval)
	}
	return before >= w.Start && after <= w.End && after.Sub(before) <= smallPage*w.Interval
}

// smallPage is how many images a page has, at least, unless the service has become odd.
const smallPage = 12

func (w *window) has(s source.Slot) bool { return w.entry(s).state >= waiting }

// add takes note of an image, and returns how many bytes are to be held for it. An image that
// nobody needs is recycled.
func (w *window) add(img poll.Image) int64 {
	off := source.SlotAt(img.Time).Sub(w.Start) + w.Interval/2
	i := int(off / w.Interval)
	if off < 0 || i >= len(w.entries) {
		recycle(img)
		return 0
	}
	s, e := w.Start.Add(time.Duration(i)*w.Interval), &w.entries[i]
	w.reached, w.news = max(w.reached, s), true
	switch {
	case img.Err != nil:
		if e.state == nothing && (!errors.Is(img.Err, source.ErrNoMedia) || errors.Is(img.Err, poll.ErrNoContent)) {
			e.state, e.img = failed, img
		}
		return 0
	case e.state == waiting || e.state == passed:
		recycle(img)
		return 0
	case s < w.first:
		recycle(img)
		e.state, e.img = passed, poll.Image{Time: img.Time}
		return 0
	}
	e.state, e.img = waiting, img
	return int64(len(img.Data))
}

// head returns how long after its beginning the window has media, and false if there is none.
func (w *window) head() (time.Duration, bool) {
	for i := range w.entries {
		if w.entries[i].state >= waiting {
			return time.Duration(i) * w.Interval, true
		}
	}
	return 0, false
}

// discard drops what is held, and returns how many bytes that were.
func (w *window) discard() (bytes int64) {
	for i := range w.entries {
		if e := &w.entries[i]; e.state == waiting {
			bytes += int64(len(e.img.Data))
			recycle(e.img)
			e.state, e.img = nothing, poll.Image{}
		}
	}
	return bytes
}

func recycle(img poll.Image) {
	if img.Recycle != nil {
		img.Recycle()
	}
}
