package poll

import (
	"context"
	"errors"
	"iter"

	"github.com/cvfeeder/cvfeeder/source"
)

// A Span is the time of a fragment: from Start up to, not including, End.
type Span struct{ Start, End source.Slot }

// A Lister is a [Fetcher] that can also list fragments.
//
// Fragments returns the visible fragments that overlap the time between two instants, in
// the order of their starts, by the same clock as the images. An error that
// wraps [source.ErrRefused] says that listing is not permitted: a [Poller] then never
// lists again. After other errors it does not list for a while.
type Lister interface {
	Fragments(ctx context.Context, from, to source.Slot) ([]Span, error)
}

// worthListing tells whether to list the fragments before asking for the images of a
// range: where that saves more images than going without would cost. At the live edge of
// a stream of steady fragments it does not.
func (p *Poller) worthListing(r slotRange) bool {
	first, ok := p.ledger.Wanted(r.from)
	if !ok || first > r.to || !p.lists() {
		return false
	}
	return !r.live || r.to.Sub(first) > MaxFragment || p.listsLiveEdge()
}

// lists tells whether fragments can be listed now.
func (p *Poller) lists() bool { return p.lister != nil && p.now() >= p.listAgain }

// listsLiveEdge tells whether the live edge is looked for among the fragments.
func (p *Poller) listsLiveEdge() bool {
	return p.lister != nil && p.opts.Lag == Auto && !p.estimate.steady()
}

// fetchListed asks for what visible fragments hold of a range, or of its beginning if it
// is long, and takes that off the range. If the fragments cannot be listed, it leaves the
// range as it is.
func (p *Poller) fetchListed(ctx context.Context, r *slotRange, yield func(source.Frame, error) bool) (more bool, err error) {
	first, _ := p.ledger.Wanted(r.from)
	to := min(r.to, first.Add(MaxWindow))
	now := p.now()
	spans, err := p.lister.Fragments(ctx, first, to)
	switch {
	case ctx.Err() != nil:
		return false, nil
	case errors.Is(err, source.ErrRefused):
		p.lister = nil
		return true, nil
	case err != nil:
		p.listAgain = p.now().Add(p.listRetry.Next())
		return true, nil
	}
	p.listRetry.Reset()

	from := first
	for w := range planListed(p.ledger, spans, first, to) {
		p.giveUpListed(from, w.Start, now)
		from = max(from, w.Start) // a window may begin with a slot of an earlier fragment
		p.noteWindow(w)
		w.Final = p.final(w)
		a := newAnswer(w, now)
		if more, err := p.fetch(ctx, a, yield); !more || err != nil {
			return more, err
		}
		p.settleListed(a)
		p.newest = max(p.newest, w.End)
	}
	p.giveUpListed(from, to+1, now)
	p.forgetClues()
	p.askedTo = max(p.askedTo, to)
	if r.live && to == r.to {
		p.learnListed(spans, now)
	}
	r.from = to + 1
	return p.release(yield), nil
}

// settleListed takes note of the pictures that failed.
func (p *Poller) settleListed(a *answer) {
	for i, broken := range a.broken {
		if wanted, ok := p.ledger.Wanted(a.slot(i)); broken && ok && wanted == a.slot(i) {
			p.missBroken(a, wanted, 0)
		}
	}
}

// giveUpListed ends the missing slots from one up to, not including, another whose grace
// was over when the fragments were listed: no fragment holds them, or it has no image of
// them.
func (p *Poller) giveUpListed(from, end, listed source.Slot) {
	for s, ok := p.ledger.Wanted(from); ok && s < end; s, ok = p.ledger.Wanted(s + 1) {
		if c := p.clues[s]; s <= p.decide && (c.broken == 0 || listed.Sub(c.broken) >= errorLasts) {
			p.doubt(&c, s)
			p.keep(s, c)
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
	p.learnEdge(begin, newest, newest.Add(MaxFragment), listed, false)
}

// planListed yields the windows that cover all wanted slots from one instant to another
// that the given fragments hold. Each is planned when the one before has been fetched. It
// begins with a fragment, or the slot before it, and ends with one, so that the service
// generates no image twice. Fragments share a window as long as that costs no more than
// one window for each, and as long as one page holds their images.
func planListed(l *source.Ledger, spans []Span, from, to source.Slot) iter.Seq[Window] {
	grid := l.Grid()
	return func(yield func(Window) bool) {
		var w Window // what the fragments so far need, nothing where Interval is 0
		for _, span := range spans {
			first, last, ok := wantedWithin(l, max(from, span.Start), min(to, span.End-1))
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

// wantedWithin returns the first and the last wanted slot from one instant to another.
func wantedWithin(l *source.Ledger, from, to source.Slot) (first, last source.Slot, ok bool) {
	for s, more := l.Wanted(from); more && s <= to; s, more = l.Wanted(s + 1) {
		if !ok {
			first = s
		}
		last, ok = s, true
	}
	return first, last, ok
}
