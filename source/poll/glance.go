package poll

import (
	"context"
	"errors"

	"github.com/cvfeeder/cvfeeder/source"
)

// glanceFurther is after how many glances in vain one looks for media after a fragment that
// does not come.
const glanceFurther = 4

// worthGlancing returns the window of a first look at a few images for anything new in a range.
// It returns false unless that costs less than the images of the whole range: where most looks
// find nothing, because fragments differ in length or one is late.
func (p *Poller) worthGlancing(r slotRange, now source.Slot) (w Window, worth bool) {
	first, ok := p.ledger.Wanted(r.from)
	if !ok || !p.endsAt(p.ledger.Grid().Step(first, -1)) || p.opts.Lag > 0 || p.listsLiveEdge() || p.cadence.slow() || p.quiet() {
		return Window{}, false
	}
	due, known := p.estimate.due()
	if !known || !p.estimate.varies() && p.misses == 0 && now >= due {
		return Window{}, false
	}
	w = p.glanceAt(first, r.to)
	return w, 3*w.Slots() <= int(r.to.Sub(w.Start)/p.ledger.Grid().Interval())+1 && w.End <= r.to
}

// glanceAt returns the window of a glance: at one instant of the next fragment, and now and
// then at one of each fragment up to a slot.
func (p *Poller) glanceAt(first, to source.Slot) Window {
	start := first.Add(-max(p.overlapFor(first), p.ledger.Grid().Interval()))
	within := max(first, p.ledger.Grid().Floor(first.Add(max(p.estimate.shortest()/2, minWindow)-p.ledger.Grid().Interval())))
	w := Window{Start: start, End: within, Interval: within.Sub(start)}
	if p.misses%glanceFurther == glanceFurther-1 {
		w.End = to
	}
	return w
}

// glance tells whether there is anything new in a range, by a few images of it.
func (p *Poller) glance(ctx context.Context, r slotRange, w Window) (there bool, err error) {
	first, _ := p.ledger.Wanted(r.from)
	for img, err := range p.images(ctx, w) {
		if errors.Is(err, ErrEmptyWindow) {
			break
		}
		if err != nil {
			return false, err
		}
		if img.Recycle != nil {
			img.Recycle()
		}
		if !errors.Is(img.Err, source.ErrNoMedia) && source.SlotAt(img.Time) >= first {
			there = true
		}
	}
	if !there {
		p.learnEdge(0, 0, r.to, p.now(), false)
	}
	return there, nil
}

// patient tells whether the next fragment may merely be longer than most.
func (p *Poller) patient(now source.Slot) bool {
	return now < p.estimate.edge.Add(p.estimate.maxAdvance+p.estimate.delay+p.estimate.interval)
}
