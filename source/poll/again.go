package poll

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

const (
	// againAfter is how long after its slots a place with lost ones is looked at again, at
	// first. Each further look comes when the place is twice as old.
	againAfter = time.Minute
	// AgainShare bounds what [Options.Again] costs: without lists, looking again in vain takes
	// at most one image for AgainShare slots of the stream.
	AgainShare = 10
	// placeSlots is how many slots a place has at most.
	placeSlots = 1500
)

// A second look is for slots that ended without media: it may be uploaded later.
type second struct {
	next source.Slot                 // when something is looked at again
	due  map[source.Slot]source.Slot // by the begin of each place: when it is due
}

// place returns how long the places are that are looked at again.
func (p *Poller) place() time.Duration {
	return min(MaxWindow-MaxFragment, placeSlots*p.ledger.Grid().Interval())
}

// lookAgain looks again at the newest lost slots that are due, and yields the frames that
// have turned up. It returns false when the caller wants no more.
func (p *Poller) lookAgain(ctx context.Context, yield func(source.Frame, error) bool) (more bool, err error) {
	now := p.now()
	if p.opts.Again == 0 || now < p.second.next {
		return true, nil
	}
	p.second.next = now.Add(minLook)
	from, to, some := p.lostPlace(now)
	if !some {
		return true, nil
	}
	spent := 0 // images in vain
	defer func() {
		p.second.next = max(p.second.next, now.Add(time.Duration(AgainShare*spent)*p.ledger.Grid().Interval()))
	}()
	spans, apart, err := p.turnedUp(ctx, from, to, &spent)
	if err != nil {
		return true, err
	}
	grid := p.ledger.Grid()
	for begin, end, some := p.ledger.Lost(from, to+1); some; begin, end, some = p.ledger.Lost(end+1, to+1) {
		for first := begin; first <= end; first = grid.Step(first, maxSlots) {
			last := min(end, grid.Step(first, maxSlots-1))
			// Between two instants that were looked at, nothing is known.
			i := slices.IndexFunc(spans, func(s Span) bool {
				return s.Start <= min(end, last.Add(apart)) && s.End > max(begin, first.Add(-apart))
			})
			if i < 0 {
				continue
			}
			start := first.Add(-p.longestFragment())
			if apart == 0 { // whole fragments
				start = min(spans[i].Start, first)
			}
			if more, err := p.fetchLate(ctx, start, last, &spent, yield); !more || err != nil {
				return more, err
			}
		}
	}
	return true, nil
}

// lostPlace returns the newest place that has lost slots and is due, from the first of them
// to the last.
func (p *Poller) lostPlace(now source.Slot) (from, to source.Slot, some bool) {
	oldest, length := now.Add(-p.opts.Again), source.Slot(p.place().Milliseconds())
	maps.DeleteFunc(p.second.due, func(begin, _ source.Slot) bool { return begin+length < oldest })
	for begin := now - now%length; begin+length > oldest; begin -= length {
		first, last, some := p.ledger.Lost(max(begin, oldest), begin+length)
		if !some {
			continue
		}
		if due, seen := p.second.due[begin]; seen && now < due || !seen && now.Sub(first) < againAfter {
			continue
		}
		p.second.due[begin] = now.Add(max(againAfter, now.Sub(first)))
		for from := first; some; {
			if _, to, some = p.ledger.Lost(from, begin+length); some {
				last, from = to, to+1
			}
		}
		return first, last, true
	}
	return 0, 0, false
}

// turnedUp returns the media that there is now between two instants: its fragments, or some
// instants of it, which are so far apart.
func (p *Poller) turnedUp(ctx context.Context, from, to source.Slot, spent *int) (spans []Span, apart time.Duration, err error) {
	if p.lists() {
		if l, ok := p.listFragments(ctx, from, to); ok {
			return l.spans, 0, nil
		}
	}
	w := Window{Start: from.Add(-MaxFragment), End: to, Interval: p.sampling(from, to), Cause: source.ForRetry}
	*spent += w.Slots()
	for img, err := range p.images(ctx, w) {
		if errors.Is(err, ErrEmptyWindow) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		if img.Recycle != nil {
			img.Recycle()
		}
		if at := source.SlotAt(img.Time); img.Err == nil {
			spans = append(spans, Span{Start: at, End: at + 1})
		}
	}
	return spans, w.Interval, nil
}

// sampling returns how far apart images are looked at from one instant to another, so that
// each run of lost slots has one, unless it is much shorter than that time.
func (p *Poller) sampling(from, to source.Slot) time.Duration {
	shortest := to.Sub(from)
	usual := shortest / nearImages
	for first, last, some := p.ledger.Lost(from, to+1); some; first, last, some = p.ledger.Lost(last+1, to+1) {
		shortest = min(shortest, last.Sub(first))
	}
	return max(min(usual, shortest), usual/4, minWindow)
}

// fetchLate asks for a window, and yields the frames of the lost slots that have turned up.
func (p *Poller) fetchLate(ctx context.Context, first, last source.Slot, spent *int, yield func(source.Frame, error) bool) (more bool, err error) {
	grid := p.ledger.Grid()
	if last != grid.Floor(last) { // it was lost at a finer pace
		grid = p.ledger.Ledger.Grid()
	}
	w := Window{Start: grid.Floor(first), End: last, Interval: grid.Interval(), Cause: source.ForRetry}
	a := newAnswer(w, p.now())
	got := 0
	defer func() {
		if got == 0 {
			*spent += w.Slots()
		}
	}()
	for img, err := range p.images(ctx, w) {
		if errors.Is(err, ErrEmptyWindow) {
			break
		}
		if err != nil {
			return true, err
		}
		i, ok := a.index(img.Time)
		if !ok || img.Err != nil || !p.ledger.Amend(a.slot(i)) {
			continue
		}
		got++
		f := p.frame(a.slot(i), img)
		f.Late = true
		if !yield(f, nil) {
			return false, nil
		}
	}
	return true, nil
}
