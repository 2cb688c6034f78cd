package bursts

import (
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A window is the slots of a grid that a request asks for.
type window struct {
	grid     source.Grid
	at       source.Slot
	from, to source.Slot // the first, and the first after the last
}

// A span is a run of slots.
type span struct{ from, to source.Slot }

// window returns what a request asks for, or why that is not possible.
func (b *Bursts) window(r Request, l Limits) (window, error) {
	if l.Most == 0 {
		return window{}, refuse("stream %q takes no bursts: burst.most is 0 in its config", r.Stream)
	}
	before, after, interval := or(r.Before, l.Before), or(r.After, l.After), or(r.Interval, l.Interval)
	grid, err := source.NewGrid(interval)
	switch {
	case err != nil:
		return window{}, refuse("%v", err)
	case before < 0 || after < 0:
		return window{}, refuse("before is %v and after is %v: neither can be negative", before, after)
	case before > l.Most || after > l.Most || before+after > l.Most:
		return window{}, refuse("before %v and after %v are more than a burst of %q may have: at most %v (burst.most)", before, after, r.Stream, l.Most)
	}
	if err := source.CheckTime(r.Time); err != nil {
		return window{}, refuse("time: %v", err)
	}
	at, now := source.SlotAt(r.Time), source.SlotAt(b.opts.Now())
	if at > now.Add(l.Most) {
		return window{}, refuse("time %v is %v ahead: at most %v (burst.most)", at, at.Sub(now).Round(time.Second), l.Most)
	}
	w := window{grid: grid, at: at, from: grid.Ceil(at.Add(-before)), to: grid.Ceil(at.Add(after))}
	if w.from >= w.to {
		return window{}, refuse("there is no slot of %v from %v before to %v after %v: ask for more", interval, before, after, at)
	}
	if n := grid.Count(w.from, w.to); l.Slots > 0 && n > l.Slots {
		return window{}, refuse("a burst of %d slots is too long, more than %d: %s, or ask for less, or for a longer interval", n, l.Slots, l.SlotsBecause)
	}
	return w, nil
}

func or(d *time.Duration, otherwise time.Duration) time.Duration {
	if d == nil {
		return otherwise
	}
	return *d
}

// forget drops the bursts that ended before an instant and are not read any more.
func (s *stream) forget(before source.Slot) {
	s.bursts = slices.DeleteFunc(s.bursts, func(b *burst) bool {
		return b.to < before && b.running() == 0 && time.Since(b.began) > remembered
	})
}

// join returns the burst that a window belongs to: one that it overlaps or touches, as long as
// that has room for its instant. The window is cut where that burst becomes too long. Otherwise
// it is a new one.
func (s *stream) join(w *window, most time.Duration) (to *burst, joined bool) {
	for _, b := range slices.Backward(s.bursts) {
		if w.from > b.to || w.to < b.from {
			continue
		}
		from := max(min(b.from, w.from), b.to.Add(-most))
		end := min(max(b.to, w.to), from.Add(most))
		beyond := w.at > end || w.at == end && w.to > end
		if w.at < from || beyond || b.from < from || b.to > end {
			continue
		}
		w.from, w.to = w.grid.Ceil(max(w.from, from)), w.grid.Ceil(min(w.to, end))
		return b, true
	}
	return &burst{id: newID(), from: w.from, to: w.to, grid: w.grid}, false
}

// extend takes note that a window has become part of the burst.
func (b *burst) extend(w window) {
	b.from, b.to = min(b.from, w.from), max(b.to, w.to)
	if w.grid.Interval() < b.grid.Interval() {
		b.grid = w.grid
	}
}

// missing returns what of a window no burst of the stream reads or has read.
func (s *stream) missing(w window) []span {
	left := []span{{w.from, w.to}}
	for _, b := range s.bursts {
		for _, p := range b.parts {
			if w.grid.Interval()%p.Interval != 0 || p.stopped || p.short { // it has other slots, or not all
				continue
			}
			left = without(left, span{p.From, p.To})
		}
	}
	for i := range left {
		left[i] = span{w.grid.Ceil(left[i].from), w.grid.Ceil(left[i].to)}
	}
	return slices.DeleteFunc(left, func(s span) bool { return s.from >= s.to })
}

// without returns the spans without one.
func without(spans []span, cut span) (rest []span) {
	for _, s := range spans {
		if before := (span{s.from, min(s.to, cut.from)}); before.from < before.to {
			rest = append(rest, before)
		}
		if after := (span{max(s.from, cut.to), s.to}); after.from < after.to {
			rest = append(rest, after)
		}
	}
	return rest
}
