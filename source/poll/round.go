package poll

import (
	"context"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

const (
	// deaf polls in a row found nothing: the camera may be off.
	deaf = 3
	// Every probe-th poll comes early, to notice that fragments have become shorter.
	probe = 16
)

// A pass is a part of a round: the wanted slots from one up to another.
type pass struct {
	from, to source.Slot
	live     bool // reaches the newest slot worth asking for
}

// round asks once for what is wanted now. It returns false when the caller wants
// no more frames.
func (p *Poller) round(ctx context.Context, yield func(source.Frame, error) bool) (more bool, err error) {
	now := source.SlotAt(time.Now())
	p.extend(now)
	for _, part := range p.passes(now) {
		for p.lists(part) {
			if more, err := p.listed(ctx, &part, yield); !more || err != nil {
				return more, err
			}
		}
		more, err := p.run(ctx, part, yield)
		if !more || err != nil {
			return more, err
		}
	}
	return p.release(yield), nil
}

// passes returns what to ask for: what has to be decided because its grace is
// over, or was never asked for; from time to time what is missing amidst media;
// and what may be new, unless too much is held back already.
func (p *Poller) passes(now source.Slot) []pass {
	live := p.edge(now)
	old := min(p.decided(now), live.to)
	var all []pass
	if due := now >= p.reask; due || p.asked <= old {
		all = append(all, pass{to: old})
		if due {
			p.reask = now.Add(p.reaskEvery())
			all = append(all, pass{from: old + 1, to: min(p.newest, live.to)})
		}
	}
	if p.heldBytes.Load() > maxHeld {
		return all
	}
	live.from = max(live.from, old+1)
	return append(all, live)
}

// decided returns the newest slot whose grace is over.
func (p *Poller) decided(now source.Slot) source.Slot {
	amidst := min(now.Add(-p.opts.Grace), p.newest)
	return max(amidst, now.Add(-p.edgeGrace()))
}

// reaskEvery returns how long what is missing is left alone: it costs an image a
// slot to look again, and the last look comes when the grace is over.
func (p *Poller) reaskEvery() time.Duration {
	f, _ := p.learned.fragment()
	switch every := max(reaskPolls, f); {
	case len(p.held) > 0:
		return every
	case p.misses >= deaf:
		return max(every, p.opts.Grace)
	default:
		return max(every, p.opts.Grace/3)
	}
}

// edge returns the pass over what may be new.
func (p *Poller) edge(now source.Slot) pass {
	grid := p.ledger.Grid()
	e := pass{from: p.newest, live: true}
	f, known := p.learned.fragment()
	switch {
	case p.opts.Lag != Auto:
		e.to = now.Add(-p.opts.Lag)
	case p.learned.steady() && !p.probing() && p.learned.delay > 0:
		// Up to the end of a fragment, and no further.
		ahead := now.Add(-p.learned.delay).Sub(p.learned.edge)
		e.to = p.learned.edge.Add(ahead - ahead%f)
	default:
		// A little more than should be visible, so that the answer shows where the
		// visible media ends.
		e.to = now
		if known && !p.listsEdge() {
			e.to = min(now, grid.Step(now.Add(-p.learned.delay*3/4), 1))
		}
	}
	if known && p.misses >= deaf && !p.listsEdge() {
		// What is missing is asked for when its grace is over.
		e.from = max(e.from, e.to.Add(-f))
	}
	return e
}

// probing tells whether the next poll is to come early.
func (p *Poller) probing() bool { return p.polls%probe == probe-1 && p.learned.steady() }

// run asks for the wanted slots of a pass, window by window.
func (p *Poller) run(ctx context.Context, part pass, yield func(source.Frame, error) bool) (more bool, err error) {
	grid := p.ledger.Grid()
	from, done := part.from, part.from // done is what has been asked for
	for {
		again := from < done
		to := part.to
		if again {
			to = grid.Step(done, -1)
		}
		w, ok := Plan(p.ledger, p.need(from, to))
		switch {
		case !ok && again:
			from = done
			continue
		case !ok:
			return true, nil
		}
		now := source.SlotAt(time.Now())
		a := answer{
			Window: w, asked: now, entries: make([]entry, w.Slots()),
			live: part.live && !again && w.End >= grid.Floor(part.to),
		}
		p.note(w)
		more, err := p.ask(ctx, &a, yield)
		if !more || err != nil {
			return more, err
		}
		done = max(done, grid.Step(w.End, 1))
		from = p.settle(&a)
		if next, ok := p.ledger.Wanted(from); from > w.End && (!ok || p.widened[next] == 0) {
			from = done
		}
		if !p.release(yield) {
			return false, nil
		}
	}
}

// note keeps what a window tells about the poller.
func (p *Poller) note(w Window) {
	if first, ok := p.ledger.Wanted(w.Start); ok {
		p.overlap.Store(int64(first.Sub(w.Start)))
	}
	p.asked = max(p.asked, w.End)
}

// extend brings the ledger up to now, and gives up what is older than wanted.
func (p *Poller) extend(now source.Slot) {
	end := now + 1
	if p.opts.To != 0 {
		end = min(end, p.opts.To)
	}
	p.ledger.Extend(end)
	if p.opts.Freshness > 0 {
		p.ledger.GiveUpBefore(now.Add(-p.opts.Freshness), source.Stale)
	}
	if p.opts.Retention != nil {
		if kept := p.opts.Retention(); kept > 0 {
			// The windows begin some time before the first wanted slot, and the service
			// refuses one that begins before all media.
			margin := max(MaxFragment+10*time.Second, 2*p.ledger.Grid().Interval())
			p.ledger.GiveUpBefore(now.Add(margin-kept), source.NoMedia)
		}
	}
}

// need returns what the next window has to take into account.
func (p *Poller) need(from, to source.Slot) Need {
	n := Need{From: from, Horizon: to, Fragment: MaxFragment, Overlap: p.overlapOf(from)}
	if f, ok := p.learned.fragment(); ok {
		n.Fragment = f
	}
	if p.fails > 0 {
		// Continuation tokens sometimes fail: a single page needs none.
		n.Fragment = 0
	}
	return n
}

func (p *Poller) overlapOf(from source.Slot) time.Duration {
	grid := p.ledger.Grid()
	first, ok := p.ledger.Wanted(from)
	if !ok {
		return 0
	}
	if wide, ok := p.widened[first]; ok {
		return wide
	}
	if p.opts.Overlap != Auto {
		return p.opts.Overlap
	}
	// Media becomes visible in whole fragments, so the first slot after the edge
	// is the first of a fragment.
	if grid.Step(first, -1) == p.learned.edge {
		return grid.Interval()
	}
	// The last look does not rely on what earlier answers told.
	if after, ok := p.after[first]; ok && source.SlotAt(time.Now()) < p.deadline(first) {
		return min(first.Sub(after), p.usual())
	}
	return p.usual()
}

// usual returns the length of a fragment, as far as known.
func (p *Poller) usual() time.Duration {
	f, _ := p.learned.fragment()
	return max(f, p.guess)
}

// wait returns how long to wait for the next round.
func (p *Poller) wait(now source.Slot) time.Duration {
	interval := p.ledger.Grid().Interval()
	next := p.nextPoll(now)
	first, waiting := p.ledger.Wanted(0)
	if waiting && first < p.newest {
		next = min(next, p.reask)
	}
	// Slots that are given up let those go that they hold back.
	if waiting && len(p.held) > 0 {
		giveUp := max(p.lastOf(first).Add(p.opts.Grace), now.Add(fixedPolls))
		p.reask = min(p.reask, giveUp)
		next = min(next, giveUp)
	}
	return min(max(next.Sub(now), 0), max(interval, maxWait))
}

// lastOf returns the last slot that is missing together with the first one, in a
// row, or in a fragment.
func (p *Poller) lastOf(first source.Slot) source.Slot {
	f, _ := p.learned.fragment()
	grid := p.ledger.Grid()
	last := first
	for {
		next := grid.Step(last, 1)
		if wanted, ok := p.ledger.Wanted(next); !ok || wanted != next || next.Sub(first) >= f {
			return last
		}
		last = next
	}
}

// nextPoll returns when something new may be there.
func (p *Poller) nextPoll(now source.Slot) source.Slot {
	interval := p.ledger.Grid().Interval()
	if p.opts.Lag != Auto {
		if interval <= fixedPolls {
			return now.Add(fixedPolls)
		}
		// When the next slot is old enough: an interval after this poll would make all
		// frames as old as the first one happened to be.
		grid := p.ledger.Grid()
		return grid.Step(grid.Floor(now.Add(-p.opts.Lag)), 1).Add(p.opts.Lag)
	}
	f, known := p.learned.fragment()
	due, ok := p.learned.due()
	if ok && p.probing() {
		due = due.Add(-f / 2)
	}
	switch {
	case ok && due > now:
		return due
	case known:
		// The longer nothing comes, the longer the pauses: the camera may be off.
		limit := min(max(f, time.Second)<<max(0, min(p.misses-deaf, 8)), max(f, maxWait))
		return now.Add(min(max(f/10, minRetry)<<min(p.misses, 8), limit))
	}
	next := now.Add(max(min(interval, time.Second), firstPolls))
	if p.misses > 4*deaf {
		next = now.Add(maxWait)
	} else if edge, ok := p.ledger.Wanted(p.newest); ok {
		next = max(next, now.Add(now.Sub(edge)/4))
	}
	return next
}
