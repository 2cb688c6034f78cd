package ahead

import (
	"context"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// A fetcher answers a poller from windows that it has asked another fetcher for. It has two
// sides: the poller's, which reads what has come and says where it is, and a goroutine for
// each window under way.
type fetcher struct {
	poll.Fetcher
	ledger   *source.Ledger
	interval time.Duration
	to       source.Slot
	cause    source.Cause
	windows  int
	room     *Room
	now      func() source.Slot
	held     atomic.Int64 // bytes of the pictures that wait for the poller

	mu       sync.Mutex
	changed  *sync.Cond
	ctx      context.Context //nolint:containedctx // of Frames; nil while that does not run
	running  sync.WaitGroup
	asked    []*window   // in order
	next     source.Slot // the first slot that no window is for; 0 at the beginning
	at       source.Slot // the first slot of the window that the poller reads
	begun    int         // how many windows were asked for
	answered int         // windows of which something came
	complete int         // windows that were answered to the end
	heads    heads
}

// Unwrap gives the poller what the other fetcher can do besides.
func (f *fetcher) Unwrap() poll.Fetcher { return f.Fetcher }

// begin lets windows be asked for until ctx ends.
func (f *fetcher) begin(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ctx = ctx
	f.room.feeds.Add(1)
}

// end waits for all windows, whose context has ended, and drops what they have.
func (f *fetcher) end() {
	f.running.Wait()
	f.room.feeds.Add(-1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop(len(f.asked))
	f.ctx, f.next = nil, 0
}

func (f *fetcher) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed.Broadcast()
}

// Images implements [poll.Fetcher].
func (f *fetcher) Images(ctx context.Context, w poll.Window) iter.Seq2[poll.Image, error] {
	if ctx.Value(apart{}) != nil || w.Interval != f.interval || !f.place(w) {
		return f.Fetcher.Images(ctx, w)
	}
	return func(yield func(poll.Image, error) bool) { f.pass(ctx, w, yield) }
}

// place takes note of where the poller is, and tells whether the window can be read ahead.
func (f *fetcher) place(w poll.Window) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx == nil || w.End > f.limit() {
		return false
	}
	if f.next == 0 || w.Start > f.next { // slots were given up
		f.drop(len(f.asked))
		f.next = w.Start
	}
	f.at = w.Start
	// What the poller has left behind it may ask for again, but not often.
	n := 0
	for n < len(f.asked)-1 && f.asked[n].End < w.Start.Add(-poll.MaxWindow) {
		n++
	}
	f.drop(n)
	for _, w := range slices.Clone(f.asked) {
		if w.told { // the poller tries again
			f.again(w)
		}
	}
	f.fill()
	return true
}

// limit returns the last slot that may be asked for ahead. Where pictures are between the
// slots, that of the last one may be nearer to the slot after it.
func (f *fetcher) limit() source.Slot {
	limit := f.now().Add(-settled)
	if f.to != 0 {
		limit = min(limit, f.to.Add(f.interval))
	}
	return f.ledger.Grid().Floor(limit)
}

// drop ends the first n windows, and drops what they have.
func (f *fetcher) drop(n int) {
	for _, w := range f.asked[:n] {
		w.stop()
		f.hold(-w.discard())
	}
	f.asked = slices.Delete(f.asked, 0, n)
}

func (f *fetcher) hold(bytes int64) { f.held.Add(bytes) }

// pass yields what the windows have of the poller's. Where a slot was said to have no picture
// before, and the poller still wants it, the service is asked for all of the poller's window:
// then the poller looks for a proof, and draws conclusions from what one answer has.
func (f *fetcher) pass(ctx context.Context, w poll.Window, yield func(poll.Image, error) bool) {
	defer context.AfterFunc(ctx, f.wake)()
	if f.passedBefore(w) {
		f.askAgain(ctx, w, yield)
		return
	}
	for s := w.Start; s <= w.End; s = s.Add(w.Interval) {
		img, there, err := f.take(ctx, s)
		if err != nil {
			yield(poll.Image{}, err)
			return
		}
		if there && !yield(img, nil) {
			return
		}
	}
}

// passedBefore tells whether any slot that the poller wants was passed on before, or is in no
// window.
func (f *fetcher) passedBefore(w poll.Window) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s, ok := f.ledger.Wanted(w.Start); ok && s <= w.End; s, ok = f.ledger.Wanted(s + 1) {
		from := f.owner(s)
		if from == nil {
			return true
		}
		if e := from.entry(s); e.used || e.state == passed {
			return true
		}
	}
	return false
}

// take waits until it is known what there is of a slot, and takes it: a picture or an error of
// it, or nothing.
func (f *fetcher) take(ctx context.Context, s source.Slot) (img poll.Image, there bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		if ctx.Err() != nil {
			return poll.Image{}, false, ctx.Err()
		}
		from := f.owner(s)
		if from == nil {
			return poll.Image{}, false, nil // before all windows
		}
		e := from.entry(s)
		switch {
		case e.state == waiting:
			img := e.img
			e.state, e.img = passed, poll.Image{Time: img.Time}
			f.hold(-int64(len(img.Data)))
			f.fill()
			f.changed.Broadcast()
			return img, true, nil
		case e.state == passed:
			return e.img, true, nil
		case from.decided(s):
			e.used = true
			return e.img, e.state == failed, nil
		case from.err != nil:
			from.told = true
			return poll.Image{}, false, from.err
		}
		f.changed.Wait()
	}
}

// owner returns the window that is for a slot, nil if there is none. Where slots were given up
// in between, it begins the next one.
func (f *fetcher) owner(s source.Slot) *window {
	for _, w := range f.asked {
		if w.owns(s) {
			return w
		}
	}
	if s >= f.next && s <= f.limit() && f.ctx != nil && f.ctx.Err() == nil {
		f.start()
		return f.owner(s)
	}
	return nil
}

// askAgain asks the service for a window of the poller's.
func (f *fetcher) askAgain(ctx context.Context, w poll.Window, yield func(poll.Image, error) bool) {
	for img, err := range f.Fetcher.Images(ctx, w) {
		if err == nil && img.Err == nil {
			f.found(img)
		}
		if !yield(img, err) {
			return
		}
	}
}

// found takes note of a picture that the poller gets from elsewhere.
func (f *fetcher) found(img poll.Image) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.ledger.Grid().Nearest(source.SlotAt(img.Time))
	for _, w := range f.asked {
		if !w.owns(s) {
			continue
		}
		if e := w.entry(s); e.state != passed {
			f.hold(-int64(len(e.img.Data)))
			recycle(e.img)
			e.state, e.img = passed, poll.Image{Time: img.Time}
		}
	}
}
