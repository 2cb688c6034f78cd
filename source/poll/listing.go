package poll

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A Span is the time of a fragment: from Start up to, not including, End.
type Span struct{ Start, End source.Slot }

// A Lister is a [Fetcher] that can also list fragments.
//
// Fragments returns the visible fragments that start between two instants, both included, by
// the same clock as the images. A list is a hint: it may lack fragments, have some twice or
// in any order, and be wrong about when they start and end. An error that wraps
// [source.ErrRefused] says that listing is not permitted: a [Poller] then never lists again.
// After other errors it does not list for a while.
type Lister interface {
	Fragments(ctx context.Context, from, to source.Slot) ([]Span, error)
}

// How far lists are trusted, and used.
const (
	// listHole is how much time between two fragments lists may leave out, such as the
	// duration of a fragment's last frame.
	listHole = time.Second
	// listMargin is how far the starts of fragments may be off in lists at least.
	listMargin = 100 * time.Millisecond
	// listMissing is how many slots in a row have to be missing for a list to cost less than
	// their images.
	listMissing = 4
)

// A list is the fragments of some time, as far as they are listed: in order, without
// overlap.
type list struct {
	spans  []Span
	margin time.Duration // how far starts may be off
}

// newList makes sense of what a lister says at some time: fragments in any order, some of
// them twice, some with absurd lengths. Holes that are shorter than hole, or hardly longer
// than nearly all are, belong to the fragment before. No fragment is longer than longest.
func newList(spans []Span, hole, longest time.Duration, now source.Slot) list {
	spans = slices.DeleteFunc(spans, func(s Span) bool { return s.End <= s.Start || s.Start >= now })
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Compare(a.Start, b.Start) })
	spans = slices.CompactFunc(spans, func(a, b Span) bool { return a.Start == b.Start })
	var holes []time.Duration
	for i, span := range spans[min(1, len(spans)):] {
		holes = append(holes, max(span.Start.Sub(spans[i].End), 0))
	}
	if slices.Sort(holes); len(holes) >= 4 {
		hole = max(hole, 2*holes[len(holes)/4])
	}
	l := list{spans, listMargin}
	for i := range spans {
		end := min(spans[i].End, spans[i].Start.Add(longest), now)
		if i+1 < len(spans) {
			next := spans[i+1].Start
			if off := next.Sub(spans[i].End); off <= hole {
				l.margin = min(max(l.margin, off, -off), hole)
				end = next
			}
		}
		spans[i].End = end
	}
	return l
}

// end returns where the last fragment ends, 0 where there is none.
func (l list) end() source.Slot {
	if len(l.spans) == 0 {
		return 0
	}
	return l.spans[len(l.spans)-1].End
}

// asks returns the last slot to ask for in order to see the whole i-th fragment: of the
// last one also whether it goes on.
func (l list) asks(i int, grid source.Grid) source.Slot {
	if i+1 < len(l.spans) || l.margin == 0 {
		return l.spans[i].End - 1
	}
	return grid.Ceil(l.spans[i].End.Add(l.margin))
}

// holding returns the fragment that holds s, and false if none does.
func (l list) holding(s source.Slot) (Span, bool) {
	for _, span := range l.spans {
		if span.Start <= s && s < span.End {
			return span, true
		}
	}
	return Span{}, false
}

// worthListing tells whether to list the fragments before asking for the images of a
// range: where that saves more images than going without would cost. That is so for a
// backlog, and if fragments vary.
func (p *Poller) worthListing(r slotRange) bool {
	first, ok := p.ledger.Wanted(r.from)
	switch {
	case !ok || first > r.to || !p.lists():
		return false
	case r.live:
		return p.listsLiveEdge() || p.listsHistory() || r.to.Sub(first) > MaxWindow
	case r.to.Sub(first) > 3*MaxFragment:
		return true
	}
	return p.listsMissing(first)
}

// listsMissing tells whether to list the fragments before asking again for what is missing
// from a slot on: if fragments vary, or much is missing that is to be decided, unless the
// list is known.
func (p *Poller) listsMissing(first source.Slot) bool {
	if c := p.clues[first]; !p.lists() || p.cadence.slow() || c.proofs > 0 || c.broken != 0 {
		return false
	}
	much := p.lastMissing(first).Sub(first) >= listMissing*p.ledger.Grid().Interval()
	return p.listed.varies || first <= p.decide && much
}

// lists tells whether fragments can be listed now.
func (p *Poller) lists() bool { return p.lister != nil && p.now() >= p.listAgain }

// listFragments lists the fragments that may hold slots from one up to another. It returns
// false if they cannot be listed.
func (p *Poller) listFragments(ctx context.Context, from, to source.Slot) (list, bool) {
	for {
		now, longest := p.now(), p.longestFragment()
		spans, err := p.lister.Fragments(ctx, from.Add(-longest), to)
		switch {
		case errors.Is(err, source.ErrRefused):
			p.lister = nil
			return list{}, false
		case err != nil:
			p.listAgain = p.now().Add(p.listRetry.Next())
			return list{}, false
		}
		p.listRetry.Reset()
		l := newList(spans, max(listHole, p.ledger.Grid().Interval()), max(longest, MaxFragment), now)
		p.listed.longest = max(p.listed.longest, l.longest())
		if p.longestFragment() <= longest {
			return l, true
		}
		// The fragment that holds the first slot may have begun earlier.
	}
}

// longest returns the length of the longest fragment that another one follows, as only that
// tells where it ends; [MaxOverlap] at most.
func (l list) longest() (longest time.Duration) {
	for i := 1; i < len(l.spans); i++ {
		if before := l.spans[i-1]; before.End == l.spans[i].Start {
			longest = max(longest, before.End.Sub(before.Start))
		}
	}
	return min(longest, MaxOverlap)
}

// fetchListed asks for the images of a range, or of its beginning if it is long, and takes
// that off the range. The windows begin and end with fragments. What lies between fragments
// is asked for as it is without a list, because lists are no proof. If the fragments cannot
// be listed, it leaves the range as it is.
func (p *Poller) fetchListed(ctx context.Context, r *slotRange, yield func(source.Frame, error) bool) (more bool, err error) {
	first, _ := p.ledger.Wanted(r.from)
	to := min(r.to, first.Add(MaxWindow))
	if r.live {
		switch {
		case p.listsHistory():
			if l, ok := p.listFragments(ctx, p.listed.since(first), p.now()); ok {
				p.listed.look(l.spans, p.ledger.Grid().Interval(), p.now())
			}
			return ctx.Err() == nil, nil
		case to == r.to:
			return p.fetchListedEdge(ctx, r, first, yield)
		}
	}
	l, ok := p.listFragments(ctx, first, to)
	if !ok {
		return ctx.Err() == nil, nil
	}
	if span, ok := l.holding(to); ok {
		to = span.End - 1
	}
	r.from = to + 1
	return p.fetchSpans(ctx, l, slotRange{from: first, to: to}, first <= p.decide, yield)
}

// fetchListedEdge asks for the images of the live edge up to where the last listed fragment
// ends, and takes that off the range.
func (p *Poller) fetchListedEdge(ctx context.Context, r *slotRange, first source.Slot, yield func(source.Frame, error) bool) (more bool, err error) {
	now := p.now()
	l, ok := p.listFragments(ctx, p.listed.since(first), r.to)
	if !ok {
		return ctx.Err() == nil, nil
	}
	p.listed.look(l.spans, p.ledger.Grid().Interval(), now)
	r.from = r.to + 1
	before := p.newest
	more, err = p.fetchSpans(ctx, l, slotRange{from: first, to: r.to}, true, yield)
	if !more || err != nil {
		return more, err
	}
	if n := len(l.spans); n > 0 && l.spans[n-1].Start > before && l.end().Add(-l.margin) > first && p.newest <= before {
		p.listed.doubt(2, now) // these images should have been there
	} else if doubt := p.listed.dubious(p.newest, now); doubt > 0 {
		more, err = p.checkList(ctx, *r, doubt, yield)
	}
	p.learnListed(l, now)
	return more, err
}

// checkList asks for images that the list has no fragment of. If there are some, it asks for
// all of their fragment, and doubts the list unless it has them by now.
func (p *Poller) checkList(ctx context.Context, r slotRange, doubt int, yield func(source.Frame, error) bool) (more bool, err error) {
	edge := p.newest
	next, ok := p.ledger.Wanted(edge + 1)
	if !ok {
		return true, nil
	}
	more, err = p.fetchRange(ctx, slotRange{from: next, to: min(r.to, next.Add(minWindow))}, yield)
	if !more || err != nil {
		return more, err
	}
	if p.newest == edge {
		p.listed.trust()
		return true, nil
	}
	l, ok := p.listFragments(ctx, edge, p.now())
	if !ok {
		return ctx.Err() == nil, nil
	}
	if l.end() > p.newest {
		return p.fetchSpans(ctx, l, slotRange{from: next, to: r.to}, true, yield)
	}
	p.listed.doubt(doubt, p.now())
	longest := p.longestFragment()
	if next, ok = p.ledger.Wanted(p.newest + 1); ok {
		p.keep(next, clue{overlap: longest})
	}
	return p.fetchRange(ctx, slotRange{from: next, to: min(r.to, edge.Add(longest))}, yield)
}

// fetchSpans asks for the images of a range: for those that fragments hold and, if asked
// to, for what is between the fragments as it is without a list. What comes after the last
// fragment is asked for only where the range has to be decided.
func (p *Poller) fetchSpans(ctx context.Context, l list, r slotRange, between bool, yield func(source.Frame, error) bool) (more bool, err error) {
	for w := range p.planListed(l, r.from, r.to) {
		if first, ok := p.ledger.Wanted(r.from); between && ok && first < w.Start {
			// The fragment starts a little after its window.
			before := slotRange{from: first, to: w.Start.Add(l.margin + w.Interval)}
			if more, err := p.fetchUnlisted(ctx, l, before, yield); !more || err != nil {
				return more, err
			}
			r.from = before.to + 1
		}
		last := w.End
		p.finish(&w)
		a := newAnswer(w, p.now())
		a.first, _ = p.ledger.Wanted(w.Start)
		p.noteWindow(w)
		if more, err := p.fetch(ctx, a, yield); !more || err != nil {
			return more, err
		}
		p.askedTo = max(p.askedTo, last)
		if r.from = p.settle(a); !p.release(yield) {
			return false, nil
		}
	}
	if r.from > p.decide {
		return true, nil
	}
	return p.fetchUnlisted(ctx, l, r, yield)
}

// fetchUnlisted asks for slots that no listed fragment holds. If they are to be decided, the
// window begins with the fragment before them: media in it proves that nothing follows.
func (p *Poller) fetchUnlisted(ctx context.Context, l list, r slotRange, yield func(source.Frame, error) bool) (more bool, err error) {
	first, ok := p.ledger.Wanted(r.from)
	if !ok || first > r.to {
		return true, nil
	}
	if c := p.clues[first]; first <= p.decide && c.proofs == 0 && c.overlap == 0 {
		for _, span := range l.spans {
			if back := first.Sub(span.Start) + l.margin; span.End <= first && back <= p.longestFragment() {
				c.overlap = back
			}
		}
		p.keep(first, c)
	}
	if more, err := p.fetchRange(ctx, r, yield); !more || err != nil {
		return more, err
	}
	p.doubtUnlisted(l, r)
	return p.release(yield), nil
}

// doubtUnlisted takes note that the list, too, lacks slots of which an answer has proved
// after the grace that they have no media. That is as good as another answer. If the answer
// also had the media right before them, it is as good as all.
func (p *Poller) doubtUnlisted(l list, r slotRange) {
	for s, ok := p.ledger.Wanted(r.from); ok && s <= r.to; s, ok = p.ledger.Wanted(s + 1) {
		c := p.clues[s]
		if _, listed := l.holding(s); listed || c.proofs == 0 {
			continue
		}
		if c.sure {
			c.proofs = enoughProofs - 1
		}
		p.doubt(&c, s)
		p.keep(s, c)
	}
	p.forgetClues()
}

// learnListed takes note of where the visible media ends, if an answer has shown that there
// is nothing after the newest slot. Where fragments vary, lists tell more about when to look
// next than that nothing came.
func (p *Poller) learnListed(l list, listed source.Slot) {
	grid := p.ledger.Grid()
	seen := p.newest > p.estimate.edge && p.clues[grid.Step(p.newest, 1)].after == p.newest
	if !seen && p.listed.varies {
		p.polled(listed)
		return
	}
	begin := p.newest
	if span, ok := l.holding(p.newest); ok {
		begin = grid.Ceil(span.Start)
	}
	p.learnEdge(begin, p.newest, p.newest.Add(MaxFragment), listed, false)
	if p.listed.varies {
		p.estimate.delay = max(p.listed.delay, time.Millisecond)
	}
}

// planListed yields the windows that cover all wanted slots from one instant to another
// that the given fragments hold. Each is planned when the one before has been fetched. It
// begins with a fragment, or shortly before it, and ends with one, so that the service
// generates no image twice. Fragments share a window as long as that costs no more than
// one window for each, and as long as one page holds their images.
func (p *Poller) planListed(l list, from, to source.Slot) iter.Seq[Window] {
	grid := p.ledger.Grid()
	return func(yield func(Window) bool) {
		var w Window // what the fragments so far need, nothing where Interval is 0
		for i, span := range l.spans {
			// What is near an end alone may be of another fragment, or of none.
			if !p.wantsOf(span, max(from, span.Start), min(to, span.End.Add(-l.margin)-1)) {
				continue
			}
			first, last, _ := wantedWithin(&p.ledger, max(from, span.Start.Add(-l.margin)), min(to, l.asks(i, grid)))
			joined := Window{Start: w.Start, End: max(w.End, last), Interval: w.Interval}
			start := grid.Floor(span.Start.Add(-l.margin))
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

// wantsOf tells whether any slot from one instant to another is wanted that a fragment may
// hold: no answer has shown that the slot's fragment starts later. Only windows that lists
// plan, which begin with fragments, show that.
func (p *Poller) wantsOf(span Span, from, to source.Slot) bool {
	for s, ok := p.ledger.Wanted(from); ok && s <= to; s, ok = p.ledger.Wanted(s + 1) {
		if after := p.clues[s].after; !p.listed.varies || after == 0 || after < span.Start {
			return true
		}
	}
	return false
}

// wantedWithin returns the first and the last wanted slot from one instant to another.
func wantedWithin(l wants, from, to source.Slot) (first, last source.Slot, ok bool) {
	for s, more := l.Wanted(from); more && s <= to; s, more = l.Wanted(s + 1) {
		if !ok {
			first = s
		}
		last, ok = s, true
	}
	return first, last, ok
}
