package ahead

import (
	"context"
	"errors"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// shortest is the shortest window: the service sometimes rejects shorter ones.
const shortest = time.Second

// A hole is slots in a row of which the answer to a window had no picture.
type hole struct{ from, to source.Slot }

// repair asks again for what a window has no picture of, until it is true that there is none:
// an answer has media before the hole, or the window begins as far back as a fragment may, or
// the hole goes on from one that is true. A poller draws its conclusions from what lies side by
// side in one answer; so what lies side by side here has to hold together likewise. The
// error is that of a request, or ctx's.
func (f *fetcher) repair(ctx context.Context, w *window) error {
	for from := w.first; ; {
		h, some, err := f.nextHole(ctx, w, from)
		if err != nil || !some {
			return err
		}
		if err := f.mend(ctx, w, h); err != nil {
			return err
		}
		from = f.ledger.Grid().Step(h.to, 1)
	}
}

// nextHole returns the next hole of a window, and false if there is none. At its beginning it
// waits for the window before, which tells whether the hole has begun there.
func (f *fetcher) nextHole(ctx context.Context, w *window, from source.Slot) (h hole, some bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, some = w.hole(from)
	if !some || h.from != w.first {
		return h, some, nil
	}
	for before := f.before(w); before != nil && !before.done; before = f.before(w) {
		if ctx.Err() != nil {
			return h, false, ctx.Err()
		}
		f.changed.Wait()
	}
	return h, true, ctx.Err()
}

// before returns the window before another one, nil if there is none.
func (f *fetcher) before(w *window) *window {
	for i, other := range f.asked {
		if other == w && i > 0 && f.asked[i-1].End.Add(w.Interval) == w.first {
			return f.asked[i-1]
		}
	}
	return nil
}

// goesOn tells whether the slot before a hole is known to have no media.
func (f *fetcher) goesOn(w *window, h hole) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.before(w)
	return h.from == w.first && before != nil && before.done && before.err == nil && before.entry(before.End).state == nothing && !before.sparse()
}

// mend asks for a hole, from farther and farther back.
func (f *fetcher) mend(ctx context.Context, w *window, h hole) error {
	grid := f.ledger.Grid()
	back := max(f.overlap(), w.Interval)
	if f.goesOn(w, h) {
		back = w.Interval
	}
	for {
		ask := poll.Window{
			Start: grid.Ceil(max(h.from.Add(-back), h.to.Add(-poll.MaxWindow))), End: h.to, Interval: w.Interval,
			Final: true, Cause: source.ForRetry,
		}
		if ask.End.Sub(ask.Start) < shortest {
			ask.Start = grid.Floor(ask.End.Add(-shortest))
		}
		ask.Overlap = grid.Count(ask.Start, h.from)
		before, err := f.fetch(ctx, w, h, ask)
		switch {
		case err != nil:
			return err
		case before, back == w.Interval, back >= poll.MaxOverlap, ask.Start == grid.Ceil(h.to.Add(-poll.MaxWindow)):
			return nil
		}
		if _, some := w.holeWithin(f, h); !some {
			return nil
		}
		back = min(2*back, poll.MaxOverlap)
	}
}

// fetch asks for a window, and takes the pictures of a hole from it. It tells whether there is
// media before the hole.
func (f *fetcher) fetch(ctx context.Context, w *window, h hole, ask poll.Window) (before bool, err error) {
	for img, err := range f.Fetcher.Images(ctx, ask) {
		if errors.Is(err, poll.ErrEmptyWindow) {
			break
		}
		if err != nil {
			return before, err
		}
		if s := f.ledger.Grid().Nearest(source.SlotAt(img.Time)); s < h.from {
			before = before || s >= ask.Start && (img.Err == nil || errors.Is(img.Err, source.ErrMedia))
			recycle(img)
			continue
		}
		if !f.came(ctx, w, img) {
			return before, ctx.Err()
		}
	}
	return before, nil
}

// hole returns the first hole of a window from a slot on.
func (w *window) hole(from source.Slot) (h hole, some bool) {
	for s := from; s <= w.End; s = s.Add(w.Interval) {
		empty := w.entry(s).state == nothing && !w.between(s)
		switch {
		case empty && !some:
			h, some = hole{s, s}, true
		case empty:
			h.to = s
		case some:
			return h, true
		}
	}
	return h, some
}

func (w *window) holeWithin(f *fetcher, h hole) (hole, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rest, some := w.hole(h.from)
	return rest, some && rest.from <= h.to
}

// sparse tells whether the window has fewer pictures than slots where it has media: then a
// slot without one tells nothing of those after it.
func (w *window) sparse() bool {
	for s := w.first; s <= w.End; s = s.Add(w.Interval) {
		if w.entry(s).state == nothing && w.between(s) {
			return true
		}
	}
	return false
}

// overlap returns how long before the first slot that it is for a window begins.
func (f *fetcher) overlap() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.heads.overlap(f.interval)
}
