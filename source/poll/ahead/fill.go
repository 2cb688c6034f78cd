package ahead

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/source/poll"
)

// fill asks for more windows, if there is room.
func (f *fetcher) fill() {
	if f.ctx == nil || f.ctx.Err() != nil {
		return
	}
	for _, w := range slices.Clone(f.asked) {
		// What broke off is asked for again once the service answers, and not before.
		if w.err != nil && f.answered > w.after {
			f.again(w)
		}
	}
	under, most := 0, min(f.windows, 4+4*f.complete)
	for _, w := range f.asked {
		if !w.done || w.err != nil {
			under++
		}
	}
	for ; under < most && f.next <= f.limit() && (len(f.asked) == 0 || !f.room.full(f.held.Load())); under++ {
		f.start()
	}
}

// start asks for the next window.
func (f *fetcher) start() {
	grid, overlap := f.ledger.Grid(), f.heads.overlap(f.interval)
	if len(f.asked) == 0 {
		overlap = 0 // the poller has seen to it
	}
	w := newWindow(poll.Window{
		Start: grid.Ceil(f.next.Add(-overlap)), Interval: f.interval,
		End: min(grid.Step(f.next, f.length(overlap)-1), f.limit()),
	}, f.next)
	f.next = grid.Step(w.End, 1)
	f.asked = append(f.asked, w)
	f.run(w)
}

// run asks for a window in a goroutine.
func (f *fetcher) run(w *window) {
	w.Cause, w.Overlap = f.cause, f.ledger.Grid().Count(w.Start, w.first)
	if len(f.asked) == 1 { // the poller says what overlaps
		w.Overlap = 0
	}
	ctx, stop := context.WithCancel(f.ctx)
	w.stop = stop
	f.running.Go(func() {
		defer stop()
		defer context.AfterFunc(ctx, f.wake)()
		for img, err := range f.Fetcher.Images(ctx, w.Window) {
			if errors.Is(err, poll.ErrEmptyWindow) {
				break
			}
			if err != nil {
				f.broke(w, err)
				return
			}
			if !f.came(ctx, w, img) {
				f.broke(w, ctx.Err())
				return
			}
		}
		head, some := f.head(w)
		if err := f.repair(ctx, w); err != nil {
			f.broke(w, err)
			return
		}
		f.finished(w, head, some)
	})
}

// came takes an image of a window's answer, and waits until there is room for another.
// Meanwhile nothing more is read from the answer. The window that the poller reads does not
// wait: others wait for it.
func (f *fetcher) came(ctx context.Context, w *window, img poll.Image) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		recycle(img)
		return false
	}
	if !w.news {
		f.answered++
	}
	f.hold(w.add(img))
	f.changed.Broadcast()
	for f.room.full(f.held.Load()) && !f.reads(w) && ctx.Err() == nil {
		f.changed.Wait()
	}
	return ctx.Err() == nil
}

// reads tells whether the poller waits for a window, or will before any other that is under
// way.
func (f *fetcher) reads(w *window) bool {
	for _, other := range f.asked {
		if !other.done {
			return other == w
		}
	}
	return true
}

// head returns how long after its beginning the answer to a window has media, and false if it
// has none, or if the window does not begin before what it is for.
func (f *fetcher) head(w *window) (time.Duration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.whole = true
	head, some := w.head()
	return head, some && w.Start < w.first
}

// finished takes note of a whole window, and learns from its beginning how long fragments are.
// Of what was missing there, only what has turned up was of a fragment.
func (f *fetcher) finished(w *window, head time.Duration, some bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if some && (head <= w.first.Sub(w.Start) || w.has(w.first)) {
		f.heads.add(head)
	}
	w.done = true
	f.complete++
	if !w.news {
		f.answered++
	}
	f.fill()
	f.changed.Broadcast()
}

func (f *fetcher) broke(w *window, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.done, w.err, w.after = true, err, f.answered
	f.changed.Broadcast()
}

// again asks for the rest of a window that broke off, from the first slot on that it has no
// picture of. What it has stays.
func (f *fetcher) again(w *window) {
	grid := f.ledger.Grid()
	w.err, w.told = nil, false
	first := grid.Step(w.End, 1)
	if h, some := w.hole(w.first); some {
		first = h.from
	}
	if first > w.End {
		return
	}
	rest := newWindow(poll.Window{Start: grid.Ceil(first.Add(-f.heads.overlap(f.interval))), End: w.End, Interval: w.Interval}, first)
	if w.End.Sub(rest.Start) > poll.MaxWindow {
		rest.Start = grid.Ceil(w.End.Add(-poll.MaxWindow))
		rest = newWindow(rest.Window, first)
	}
	for s := first; s <= w.End; s = grid.Step(s, 1) {
		if had := w.entry(s); had.state >= waiting {
			*rest.entry(s), *had = *had, entry{}
		}
	}
	w.End = grid.Step(first, -1)
	for i, other := range f.asked {
		if other == w {
			f.asked = slices.Insert(f.asked, i+1, rest)
			break
		}
	}
	f.run(rest)
}
