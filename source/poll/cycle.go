package poll

import (
	"context"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// backBy is how far the clock has to go back for the poller to start anew.
const backBy = 5 * time.Second

// staleSkipped is for how long before the freshness limit slots that are left out are told
// from stale ones: in a backlog of longer than that all are stale.
const staleSkipped = 10 * time.Minute

// A slotRange is a part of a cycle: the wanted slots from one up to and including
// another.
type slotRange struct {
	from, to source.Slot
	live     bool // reaches the newest slot worth asking for
	aligned  bool // and ends where a fragment should
}

// cycle asks once for everything that is wanted now: slots that have to be decided because
// their grace is over, or that were never asked for; from time to time the first that is
// missing; and what may be new, unless too much is open already. While nobody wants the
// frames, it asks for nothing. It returns false when the caller wants no more frames.
func (p *Poller) cycle(ctx context.Context, yield func(source.Frame, error) bool) (more bool, err error) {
	if p.rests(ctx) {
		return p.rest(yield), nil
	}
	if !p.followPace() {
		return p.halt(yield), nil
	}
	if ready, err := p.follow(ctx); !ready || err != nil {
		return ctx.Err() == nil, err
	}
	now := p.now()
	p.extend(now)
	live := p.liveRange(now)
	// Slots are decided together, not one by one while their grace runs out.
	first, _ := p.ledger.Wanted(0)
	if p.unsure() || first > p.decide && now >= p.deadline(p.lastMissing(first)) {
		p.decide = min(p.expired(now), live.to)
	}
	due := now >= p.recheckAt
	asked := p.askedTo
	old := slotRange{to: p.decide}
	if !due {
		old.from = p.askedTo + 1
	} else {
		old.to = p.firstLook(old.to)
	}
	if more, err := p.ask(ctx, old, yield); !more || err != nil {
		return more, err
	}
	if due {
		if more, err := p.recheck(ctx, live, now, yield); !more || err != nil {
			return more, err
		}
	}
	if (now >= p.pollAt || p.askedTo > asked) && !p.full() {
		live.from = max(live.from, p.decide+1)
		if more, err := p.askLive(ctx, live, yield); !more || err != nil {
			return more, err
		}
	}
	if !p.release(yield) {
		return false, nil
	}
	return p.lookAgain(ctx, yield)
}

// askLive asks for what may be new.
func (p *Poller) askLive(ctx context.Context, r slotRange, yield func(source.Frame, error) bool) (more bool, err error) {
	if w, worth := p.worthGlancing(r, p.now()); worth {
		if there, err := p.glance(ctx, r, w); !there || err != nil {
			return true, err
		}
	}
	return p.ask(ctx, r, yield)
}

// firstLook returns the last slot to ask for of those that are to be decided. The first look
// has to overlap media. If it proves that the first missing fragment has none, the next look
// needs no overlap, and so the slots after that fragment are left to it.
func (p *Poller) firstLook(to source.Slot) source.Slot {
	first, ok := p.ledger.Wanted(0)
	c := p.clues[first]
	fragment, known := p.estimate.fragment()
	if !ok || !known || p.goesOn(first) || c.after == 0 || c.sure || c.overlap != 0 || c.broken != 0 {
		return to
	}
	return min(to, max(first, first.Add(fragment-p.ledger.Grid().Interval())))
}

// goesOn tells whether a slot is to be decided, and the one before it was decided to have no
// media: a look from there needs no overlap, and so no slot is left to another.
func (p *Poller) goesOn(first source.Slot) bool {
	return first <= p.decide && p.ledger.Grid().Step(first, -1) == p.gone
}

// recheck asks for the first missing slot, unless it is being decided or is asked for as
// what may be new. If it is there, it asks for all that is missing.
func (p *Poller) recheck(ctx context.Context, live slotRange, now source.Slot, yield func(source.Frame, error) bool) (more bool, err error) {
	first, ok := p.ledger.Wanted(0)
	if !ok || first <= p.decide || first > p.askedTo || first > p.newest && first >= live.from {
		return true, nil
	}
	to := min(p.sample(first), now.Add(-max(p.opts.Lag, 0)))
	more, err = p.ask(ctx, slotRange{from: first, to: to, live: first > p.newest}, yield)
	next, ok := p.ledger.Wanted(first)
	switch {
	case !more || err != nil || next == first:
		return more, err
	case ok && next <= p.newest:
		return p.ask(ctx, slotRange{from: next, to: p.newest}, yield)
	}
	p.misses, p.pollAt = 0, now // the camera is not off
	return true, nil
}

// ask asks for the wanted slots of a range.
func (p *Poller) ask(ctx context.Context, r slotRange, yield func(source.Frame, error) bool) (more bool, err error) {
	for p.worthListing(r) {
		if more, err := p.fetchListed(ctx, &r, yield); !more || err != nil {
			return more, err
		}
	}
	return p.fetchRange(ctx, r, yield)
}

// extend brings the ledger up to now, and gives up the slots that are older than the
// freshness limit or the retention.
func (p *Poller) extend(now source.Slot) {
	if now < p.present.Add(-backBy) {
		p.goBack(now)
	}
	p.present = now
	p.ledger.Follow(now, p.opts.To)
	if p.unsure() { // by a clock that is ahead, all would be too old
		return
	}
	if p.opts.Freshness > 0 {
		oldest := now.Add(-p.opts.Freshness)
		p.ledger.skipWithin(oldest.Add(-staleSkipped), oldest)
		p.ledger.GiveUpBefore(oldest, source.Stale)
	}
	if p.opts.Retention != nil {
		if kept := p.opts.Retention(); kept > 0 {
			// A window begins some time before the first wanted slot, and the service
			// refuses one that begins before all media.
			margin := max(MaxFragment, p.longestFragment()) + 10*time.Second
			margin = max(margin, 2*p.ledger.Grid().Interval())
			p.ledger.GiveUpBefore(now.Add(margin-kept), source.NoMedia)
		}
	}
}

// goBack forgets what was learned while the clock was wrong: there is no media yet after now,
// and nothing is due.
func (p *Poller) goBack(now source.Slot) {
	p.estimate = estimate{interval: p.estimate.interval, least: p.estimate.least}
	p.cadence = cadence{interval: p.cadence.interval}
	p.listed, p.shown = listedEdge{}, shown{}
	p.newest, p.trailed, p.recheckAt, p.pollAt, p.listAgain, p.decide = 0, 0, 0, 0, 0, 0
	p.askedTo = min(p.askedTo, now)
	clear(p.clues)
}

// full tells whether so much is open that nothing new is asked for.
func (p *Poller) full() bool { return p.heldBytes.Load() > maxHeld || len(p.clues) > maxOpen }

// deciding tells whether the next looks decide about a slot.
func (p *Poller) deciding(s source.Slot) bool {
	c := p.clues[s]
	return s <= p.decide && (c.proofs > 0 || c.broken != 0)
}

// waits tells whether the slots from one on were never asked for and have to wait: too
// much is open, or frames wait for slots that are decided in the next cycles.
func (p *Poller) waits(from source.Slot) bool {
	first, _ := p.ledger.Wanted(0)
	return from > p.askedTo && (p.full() || p.deciding(first) && len(p.held) > 0)
}

// sample returns the last slot to ask for in order to learn whether the first missing one
// is there. While there is nothing, no image is made of a whole fragment. But each slot of
// one whose picture fails is paid for, so a single one has to do.
func (p *Poller) sample(first source.Slot) source.Slot {
	switch {
	case p.clues[first].broken != 0:
		return first
	case first <= p.newest && p.listsMissing(first):
		return p.newest
	}
	return min(p.lastMissing(first), first.Add(p.longestFragment()))
}

// liveRange returns the range of what may be new.
func (p *Poller) liveRange(now source.Slot) slotRange {
	grid := p.ledger.Grid()
	r := slotRange{from: grid.Step(p.newest, 1), live: true}
	fragment, known := p.estimate.fragment()
	switch {
	case p.listsLiveEdge():
		r.to = now
	case p.planned() && !p.probing():
		r.to = p.trailTo(now)
		r.aligned = p.estimate.regular()
	case p.estimate.steady() && !p.probing() && p.estimate.delay > 0:
		// Up to the end of a fragment, and no further.
		ahead := now.Add(-p.estimate.delay).Sub(p.estimate.edge)
		r.to = p.estimate.edge.Add(ahead - ahead%fragment + p.estimate.slack)
		r.aligned = ahead >= fragment && (p.estimate.slack > 0 || r.to == grid.Floor(r.to))
		// A late fragment is asked for apart from the one after it, so that what is not
		// there is not paid for together with what is.
		if before := r.to.Add(-fragment); before <= p.askedTo && p.mayEndAt(before) {
			r.from = max(r.from, grid.Step(before, 1))
		}
	default:
		// A little more than should be visible, so that the answer shows where the
		// visible media ends.
		r.to = now
		if known {
			longest, _ := p.cadence.usual()
			visible := max(p.estimate.delay-longest+grid.Interval(), 0)
			beyond := max(grid.Interval(), fragment/8)
			if p.estimate.varies() { // a fragment that is cut costs more than images of none
				beyond = max(beyond, time.Second)
			}
			beyond = min(beyond, visible/4)
			if p.cut {
				beyond = visible / 2
			}
			r.to = min(now, grid.Step(now.Add(beyond-visible), 1))
			if p.probing() && longest > grid.Interval() {
				r.to = min(r.to, now.Add(longest/2-p.estimate.delay))
			}
		}
	}
	r.to = min(r.to, now.Add(-max(p.opts.Lag, 0)))
	if p.quiet() && (known || p.misses > longQuiet) && !p.listsLiveEdge() {
		// A camera that was off comes back with the newest slots. Earlier ones that have been
		// asked for are looked for now and then. With the time in doubt, which only an answer
		// ends, nothing else would be asked for.
		if !known {
			fragment = MaxFragment
		}
		r.from = max(r.from, min(r.to.Add(-fragment), p.askedTo+1))
	}
	return r
}

// maxRepeats is how often slots are asked for again at once, so that it is no burst that
// the service throttles.
const maxRepeats = 8

// fetchRange asks for the wanted slots of a range, window by window. Slots for which an
// answer proved nothing are asked for again at once, with a longer overlap.
func (p *Poller) fetchRange(ctx context.Context, r slotRange, yield func(source.Frame, error) bool) (more bool, err error) {
	grid := p.ledger.Grid()
	from, done := r.from, r.from // everything before done has been asked for
	repeats := 0
	var newest, begin source.Slot // the newest media so far, and where it begins
	for {
		again := from < done && repeats < maxRepeats
		if again {
			repeats++
		} else {
			from, repeats = max(from, done), 0
		}
		to := r.to
		if again {
			to = grid.Step(done, -1)
		}
		if p.waits(to) {
			to = min(to, p.askedTo)
		}
		w, ok := plan(&p.ledger, p.need(from, to))
		switch {
		case !ok && again:
			from = done
			continue
		case !ok:
			return true, nil
		}
		last := w.End
		p.finish(&w)
		a := newAnswer(w, p.now())
		a.aligned = r.aligned
		a.first, _ = p.ledger.Wanted(w.Start)
		if start, ok := p.shown.start(a.first); p.clues[a.first].overlap > 0 && !(ok && start == w.Start) {
			a.widened = a.first // and not because it is known where the fragment starts
		}
		a.again, a.live = again, r.live && last >= min(grid.Floor(r.to), grid.Step(p.ledger.End(), -1))
		p.noteWindow(w)
		more, err := p.fetch(ctx, a, yield)
		if !more || err != nil {
			return more, err
		}
		done = max(done, grid.Step(last, 1))
		p.askedTo = max(p.askedTo, last)
		a.earlier, a.earlierBegin = newest, begin
		from = p.settle(a)
		if s, ok := a.newest(); ok && s > newest {
			newest, begin = s, p.begin(a, s)
		}
		if next, ok := p.ledger.Wanted(from); from > last && (!ok || p.clues[next].overlap == 0) {
			from = done
		}
		if !p.release(yield) {
			return false, nil
		}
	}
}

// finish says of a window whether its answer may end slots. Then it must have all pictures that
// stand for them: where these are between the slots, that of the last one may be of a fragment
// that starts after it.
func (p *Poller) finish(w *Window) {
	first, ok := p.ledger.Wanted(w.Start)
	w.Final = ok && first <= min(w.End, p.decide)
	if w.Final && p.cadence.between() && w.End.Add(w.Interval).Sub(w.Start) <= MaxWindow {
		w.End = w.End.Add(w.Interval)
	}
}

// noteWindow keeps how much a window overlaps.
func (p *Poller) noteWindow(w Window) {
	if first, ok := p.ledger.Wanted(w.Start); ok {
		p.overlap.Store(int64(first.Sub(w.Start)))
	}
}
