package poll

import (
	"context"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// backBy is how far the clock has to go back for the poller to start anew.
const backBy = 5 * time.Second

// A slotRange is a part of a cycle: the wanted slots from one up to and including
// another.
type slotRange struct {
	from, to source.Slot
	live     bool // reaches the newest slot worth asking for
	aligned  bool // and ends where a fragment should
}

// cycle asks once for everything that is wanted now. It returns false when the caller
// wants no more frames.
func (p *Poller) cycle(ctx context.Context, yield func(source.Frame, error) bool) (more bool, err error) {
	if ready, err := p.follow(ctx); !ready || err != nil {
		return ctx.Err() == nil, err
	}
	now := p.now()
	p.extend(now)
	for _, r := range p.ranges(now) {
		for p.worthListing(r) {
			if more, err := p.fetchListed(ctx, &r, yield); !more || err != nil {
				return more, err
			}
		}
		more, err := p.fetchRange(ctx, r, yield)
		if !more || err != nil {
			return more, err
		}
	}
	if !p.release(yield) {
		return false, nil
	}
	return p.lookAgain(ctx, yield)
}

// extend brings the ledger up to now, and gives up the slots that are older than the
// freshness limit or the retention.
func (p *Poller) extend(now source.Slot) {
	if now < p.present.Add(-backBy) {
		p.goBack(now)
	}
	p.present = now
	p.ledger.Follow(now, p.opts.To)
	if p.opts.Freshness > 0 {
		p.ledger.GiveUpBefore(now.Add(-p.opts.Freshness), source.Stale)
	}
	if p.opts.Retention != nil {
		if kept := p.opts.Retention(); kept > 0 {
			// A window begins some time before the first wanted slot, and the service
			// refuses one that begins before all media.
			margin := max(MaxFragment+10*time.Second, 2*p.ledger.Grid().Interval())
			p.ledger.GiveUpBefore(now.Add(margin-kept), source.NoMedia)
		}
	}
}

// goBack forgets what was learned while the clock was wrong: there is no media yet after now,
// and nothing is due.
func (p *Poller) goBack(now source.Slot) {
	p.estimate = estimate{interval: p.estimate.interval, least: p.estimate.least}
	p.cadence = cadence{interval: p.cadence.interval}
	p.newest, p.trailed, p.recheckAt, p.listAgain = 0, 0, 0, 0
	p.askedTo = min(p.askedTo, now)
	clear(p.widened)
	clear(p.startsAfter)
}

// ranges returns what to ask for: slots that have to be decided because their grace is
// over, or that were never asked for; from time to time what is missing among media that
// is there; and what may be new, unless too much is held already.
func (p *Poller) ranges(now source.Slot) []slotRange {
	live := p.liveRange(now)
	old := min(p.expired(now), live.to)
	var all []slotRange
	if due := now >= p.recheckAt; due || p.askedTo <= old {
		all = append(all, slotRange{to: old})
		if due {
			p.recheckAt = now.Add(p.recheckInterval())
			all = append(all, slotRange{from: old + 1, to: min(p.newest, live.to)})
		}
	}
	if p.heldBytes.Load() > maxHeld {
		return all
	}
	live.from = max(live.from, old+1)
	return append(all, live)
}

// liveRange returns the range of what may be new.
func (p *Poller) liveRange(now source.Slot) slotRange {
	grid := p.ledger.Grid()
	r := slotRange{from: p.newest, live: true}
	fragment, known := p.estimate.fragment()
	switch {
	case p.planned() && !p.probing():
		r.to = p.trailTo(now)
		r.aligned = p.estimate.regular()
	case p.estimate.steady() && !p.probing() && p.estimate.delay > 0:
		// Up to the end of a fragment, and no further.
		ahead := now.Add(-p.estimate.delay).Sub(p.estimate.edge)
		r.to = p.estimate.edge.Add(ahead - ahead%fragment + p.estimate.slack)
		r.aligned = ahead >= fragment && (p.estimate.slack > 0 || r.to == grid.Floor(r.to))
	default:
		// A little more than should be visible, so that the answer shows where the
		// visible media ends.
		r.to = now
		if known && !p.listsLiveEdge() {
			longest, _ := p.cadence.usual()
			visible := max(p.estimate.delay-longest+grid.Interval(), 0)
			r.to = min(now, grid.Step(now.Add(-visible*3/4), 1))
			if p.probing() && longest > grid.Interval() {
				r.to = min(r.to, now.Add(longest/2-p.estimate.delay))
			}
		}
	}
	r.to = min(r.to, now.Add(-max(p.opts.Lag, 0)))
	if known && p.quiet() && !p.listsLiveEdge() {
		// Earlier slots are asked for when their grace is over.
		r.from = max(r.from, r.to.Add(-fragment))
	}
	return r
}

// fetchRange asks for the wanted slots of a range, window by window. Slots for which an
// answer proved nothing are asked for again at once, with a longer overlap.
func (p *Poller) fetchRange(ctx context.Context, r slotRange, yield func(source.Frame, error) bool) (more bool, err error) {
	grid := p.ledger.Grid()
	from, done := r.from, r.from // everything before done has been asked for
	for {
		again := from < done
		to := r.to
		if again {
			to = grid.Step(done, -1)
		}
		w, ok := plan(p.ledger, p.need(from, to))
		switch {
		case !ok && again:
			from = done
			continue
		case !ok:
			return true, nil
		}
		now := p.now()
		w.Final = p.final(w, now)
		a := newAnswer(w, now)
		a.aligned = r.aligned
		a.live = r.live && !again && w.End >= grid.Floor(r.to)
		p.noteWindow(w)
		more, err := p.fetch(ctx, a, yield)
		if !more || err != nil {
			return more, err
		}
		done = max(done, grid.Step(w.End, 1))
		from = p.settle(a)
		if next, ok := p.ledger.Wanted(from); from > w.End && (!ok || p.widened[next] == 0) {
			from = done
		}
		if !p.release(yield) {
			return false, nil
		}
	}
}

// final tells whether the answer to a window that is asked for now may end slots.
func (p *Poller) final(w Window, now source.Slot) bool {
	first, ok := p.ledger.Wanted(w.Start)
	return ok && first <= w.End && now >= p.deadline(first)
}

// noteWindow keeps how much a window overlaps, and how far it reaches.
func (p *Poller) noteWindow(w Window) {
	if first, ok := p.ledger.Wanted(w.Start); ok {
		p.overlap.Store(int64(first.Sub(w.Start)))
	}
	p.askedTo = max(p.askedTo, w.End)
}
