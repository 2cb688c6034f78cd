package poll

import (
	"context"
	"errors"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// An answer is what came of asking for a window.
type answer struct {
	Window
	asked source.Slot // when
	// seen is when the page with the newest media may have been asked for, at the latest.
	seen source.Slot
	live bool // reaches the newest slot worth asking for
	// again says that an answer to a shorter window reached as far.
	again bool
	// aligned says that it also ends where a fragment should.
	aligned bool
	// first is the first slot that was wanted, 0 for none.
	first source.Slot
	// widened is the slot for which the window was widened, 0 for none.
	widened source.Slot
	// earlier is the newest slot with media in earlier windows of the same range, which
	// has no hole from earlierBegin on; 0 for none.
	earlier, earlierBegin source.Slot
	// By the window's slots: whether there is media, whether there is nothing but an error
	// of it, and whether there is an entry that says neither.
	media, broken, open []bool
	times               []source.Slot // of the pictures, by their own timestamps
}

func newAnswer(w Window, asked source.Slot) *answer {
	n := w.Slots()
	return &answer{
		Window: w, asked: asked, seen: asked,
		media: make([]bool, n), broken: make([]bool, n), open: make([]bool, n), times: make([]source.Slot, n),
	}
}

// index returns the index of the slot that an image of time t stands for. Images may be
// some milliseconds off, or outside of what was asked for.
func (a *answer) index(t time.Time) (int, bool) {
	off := source.SlotAt(t).Sub(a.Start) + a.Interval/2
	i := int(off / a.Interval)
	return i, off >= 0 && i < len(a.media)
}

func (a *answer) slot(i int) source.Slot { return a.Start.Add(time.Duration(i) * a.Interval) }

// newest returns the last slot that has media, false where there is none.
func (a *answer) newest() (source.Slot, bool) {
	for i := len(a.media) - 1; i >= 0; i-- {
		if a.media[i] {
			return a.slot(i), true
		}
	}
	return 0, false
}

// next returns the first slot after another one that has media, false where there is none.
func (a *answer) next(s source.Slot) (source.Slot, bool) {
	for i, media := range a.media {
		if media && a.slot(i) > s {
			return a.slot(i), true
		}
	}
	return 0, false
}

// fetch asks for the window of an answer and fills the answer in. Frames are released
// while the rest is still arriving.
func (p *Poller) fetch(ctx context.Context, a *answer, yield func(source.Frame, error) bool) (more bool, err error) {
	taken := false
	for img, err := range p.images(ctx, a.Window) {
		if errors.Is(err, ErrEmptyWindow) {
			break // an answer like others
		}
		if err != nil {
			if taken { // what led on a little is worth trying again soon
				p.answered()
			}
			return true, err
		}
		i, ok := a.index(img.Time)
		if !ok {
			continue
		}
		if errors.Is(img.Err, source.ErrNoMedia) {
			a.open[i] = a.open[i] || errors.Is(img.Err, ErrNoContent)
			continue
		}
		a.times[i] = source.SlotAt(img.Time)
		if newest, ok := a.newest(); !ok || a.slot(i) >= newest {
			if a.seen = a.asked; i >= p.page() {
				a.seen = p.now()
			}
		}
		if img.Err != nil {
			// The picture may still come in this answer.
			a.media[i], a.broken[i] = true, !a.media[i] || a.broken[i]
			continue
		}
		s := a.slot(i)
		a.media[i], a.broken[i] = true, false
		if p.ledger.Take(s) {
			taken = true
			p.hold(p.frame(s, img))
		}
		if !p.release(yield) {
			return false, nil
		}
	}
	if _, ok := a.newest(); ok {
		p.answered() // a cycle can be long
	}
	return true, nil
}
