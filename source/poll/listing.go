package poll

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A Span is the time of a fragment: from Start up to, not including, End.
type Span struct{ Start, End source.Slot }

// A Lister is a [Fetcher] that can also tell which fragments there are.
//
// Fragments returns the visible fragments that hold any of the time from one
// instant to another, in the order of their starts, by the clock that the images
// are asked by. An error that wraps [source.ErrRefused] says that it is not permitted; a
// [Poller] then does without for good. After other errors it does without for a
// while.
type Lister interface {
	Fragments(ctx context.Context, from, to source.Slot) ([]Span, error)
}

// lists tells whether to ask for the fragments before the images of a pass: where
// that spares more images than the present way of asking needs. At the live edge
// of a stream of steady fragments it does not.
func (p *Poller) lists(part pass) bool {
	first, ok := p.ledger.Wanted(part.from)
	if !ok || first > part.to || p.lister == nil || source.SlotAt(time.Now()) < p.listAgain {
		return false
	}
	return !part.live || part.to.Sub(first) > MaxFragment || p.listsEdge()
}

// listsEdge tells whether the live edge is looked for among the fragments.
func (p *Poller) listsEdge() bool {
	return p.lister != nil && p.opts.Lag == Auto && !p.learned.steady()
}

// listed asks for what visible fragments hold of a pass, or of its beginning where
// it is long, and takes that off the pass. Where the fragments cannot be listed,
// it leaves the pass as it is.
func (p *Poller) listed(ctx context.Context, part *pass, yield func(source.Frame, error) bool) (more bool, err error) {
	first, _ := p.ledger.Wanted(part.from)
	to := min(part.to, first.Add(MaxWindow))
	now := source.SlotAt(time.Now())
	spans, err := p.lister.Fragments(ctx, first, to)
	switch {
	case ctx.Err() != nil:
		return false, nil
	case errors.Is(err, source.ErrRefused):
		p.lister = nil
		return true, nil
	case err != nil:
		p.listFails++
		p.listAgain = source.SlotAt(time.Now()).Add(backoff(p.listFails))
		return true, nil
	}
	p.listFails = 0

	from := first
	for w := range PlanListed(p.ledger, spans, first, to) {
		p.giveUpListed(from, w.Start, now)
		from = w.Start
		p.note(w)
		a := answer{Window: w, asked: now, entries: make([]entry, w.Slots())}
		if more, err := p.ask(ctx, &a, yield); !more || err != nil {
			return more, err
		}
		p.newest = max(p.newest, w.End)
	}
	p.giveUpListed(from, to+1, now)
	p.asked = max(p.asked, to)
	if part.live && to == part.to {
		p.learnListed(spans, now)
	}
	part.from = to + 1
	return p.release(yield), nil
}

// giveUpListed ends the slots up to an end whose grace was over when the
// fragments were listed: no fragment holds them, or it has no image of them.
func (p *Poller) giveUpListed(from, end, listed source.Slot) {
	for s, ok := p.ledger.Wanted(from); ok && s < end; s, ok = p.ledger.Wanted(s + 1) {
		if listed >= p.deadline(s) {
			p.ledger.GiveUp(s, source.NoMedia)
		}
	}
}

// learnListed takes note of where the visible media ends.
func (p *Poller) learnListed(spans []Span, listed source.Slot) {
	var begin, newest source.Slot
	grid := p.ledger.Grid()
	for _, span := range spans {
		if end := grid.Floor(span.End - 1); end > newest {
			begin, newest = grid.Ceil(span.Start), end
		}
	}
	p.learnEdge(begin, newest, listed)
}

// PlanListed yields the windows that get all wanted slots from one instant to
// another which the given fragments hold. Each is planned when its turn comes, and
// begins with a fragment, or the slot before it, and ends with one: so the service
// generates no image twice. Fragments share a window as long as that costs no more
// than one for each, and an answer holds them.
func PlanListed(l *source.Ledger, spans []Span, from, to source.Slot) iter.Seq[Window] {
	grid := l.Grid()
	return func(yield func(Window) bool) {
		var w Window // what the fragments so far need, nothing where Interval is 0
		for _, span := range spans {
			first, last, ok := wantedOf(l, max(from, span.Start), min(to, span.End-1))
			if !ok {
				continue
			}
			joined := Window{Start: w.Start, End: max(w.End, last), Interval: w.Interval}
			start := grid.Floor(span.Start)
			if start <= grid.Step(w.End, 1) && joined.Slots() <= PageSlots && joined.End.Sub(w.Start) <= MaxWindow && w.Interval != 0 {
				w = joined
				continue
			}
			if w.Interval != 0 && !yield(w) {
				return
			}
			start = min(start, first, grid.Floor(last.Add(-minWindow)))
			w = Window{Start: max(start, grid.Ceil(last.Add(-MaxWindow))), End: last, Interval: grid.Interval()}
		}
		if w.Interval != 0 {
			yield(w)
		}
	}
}

// wantedOf returns the first and the last wanted slot from one instant to another.
func wantedOf(l *source.Ledger, from, to source.Slot) (first, last source.Slot, ok bool) {
	for s, more := l.Wanted(from); more && s <= to; s, more = l.Wanted(s + 1) {
		if !ok {
			first = s
		}
		last, ok = s, true
	}
	return first, last, ok
}
