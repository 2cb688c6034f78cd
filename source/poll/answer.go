package poll

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// An entry is what an answer says of a slot.
type entry uint8

const (
	silent entry = iota // nothing, or no media
	found               // a picture, or media that no picture could be made of
)

// An answer is what came of asking for a window.
type answer struct {
	Window
	asked   source.Slot
	live    bool    // reaches the newest slot worth asking for
	entries []entry // of the window's slots
}

// at returns the index of the slot that an image of time t stands for. Images may
// be some milliseconds off, or outside of what was asked.
func (a *answer) at(t time.Time) (int, bool) {
	off := source.SlotAt(t).Sub(a.Start) + a.Interval/2
	i := int(off / a.Interval)
	return i, off >= 0 && i < len(a.entries)
}

func (a *answer) slot(i int) source.Slot { return a.Start.Add(time.Duration(i) * a.Interval) }

// newest returns the last slot of which there is media, false where there is none.
func (a *answer) newest() (source.Slot, bool) {
	for i := len(a.entries) - 1; i >= 0; i-- {
		if a.entries[i] == found {
			return a.slot(i), true
		}
	}
	return 0, false
}

// begin returns where the media begins that is without a hole until s.
func (a *answer) begin(s source.Slot) source.Slot {
	for i := len(a.entries) - 1; i >= 0; i-- {
		if a.slot(i) < s && a.entries[i] == silent {
			return a.slot(i + 1)
		}
	}
	return a.Start
}

// ask fetches a window. Frames are passed on while the answer still arrives.
func (p *Poller) ask(ctx context.Context, a *answer, yield func(source.Frame, error) bool) (more bool, err error) {
	for img, err := range p.fetch.Images(ctx, a.Window) {
		if errors.Is(err, ErrEmptyWindow) {
			break // an answer like others
		}
		if err != nil {
			return true, err
		}
		i, ok := a.at(img.Time)
		if !ok || errors.Is(img.Err, source.ErrNoMedia) {
			continue
		}
		s := a.slot(i)
		a.entries[i] = found
		if img.Err != nil {
			p.ledger.GiveUp(s, source.MediaError)
		} else if p.ledger.Take(s) {
			p.hold(source.Frame{Stream: p.opts.Stream, Slot: s, Capture: img.Time, Data: img.Data, Recycle: img.Recycle})
		}
		if !p.release(yield) {
			return false, nil
		}
	}
	if _, ok := a.newest(); ok {
		p.fails = 0 // in a long round, what failed long ago is no reason for a long pause
	}
	return true, nil
}

// settle draws the conclusions from a whole answer: it ends the slots whose grace
// is over, widens the overlap where the answer proves nothing, and learns. It
// returns the slot to go on from.
//
// Silence about a slot is conclusive if a fragment holding the slot would have
// started within the window: when there is media before it in the same answer,
// or when the window starts a whole fragment earlier. Otherwise the fragment may
// have been running already when the window opened.
func (p *Poller) settle(a *answer) (next source.Slot) {
	grid := p.ledger.Grid()
	next = grid.Step(a.End, 1)
	if newest, ok := a.newest(); ok {
		p.newest = max(p.newest, newest)
	}
	sure, after := false, source.Slot(0)
	for i, e := range a.entries {
		s := a.slot(i)
		if e == found {
			sure, after = true, s
			p.guess = max(p.guess, p.widened[s])
			continue
		}
		sure = sure || s.Sub(a.Start) >= p.longest()
		if wanted, ok := p.ledger.Wanted(s); !ok || wanted != s {
			continue
		}
		after = max(after, p.after[s])
		if before := grid.Step(s, -1); before == p.learned.edge {
			after = before
		}
		over := a.asked >= p.deadline(s)
		if after != 0 {
			p.after[s] = after
			sure = sure || !over && a.Start <= after
		}
		if sure && over {
			p.ledger.GiveUp(s, source.NoMedia)
		}
		if wide := p.wider(s.Sub(a.Start), over); !sure && wide > s.Sub(a.Start) && (over || p.newest > s) {
			p.widened[s] = wide
			next = min(next, s)
		}
	}
	first, waiting := p.ledger.Wanted(0)
	maps.DeleteFunc(p.widened, func(s source.Slot, _ time.Duration) bool { return !waiting || s < first })
	maps.DeleteFunc(p.after, func(s, _ source.Slot) bool { return !waiting || s < first })
	p.learn(a)
	return next
}

// wider returns the overlap to try after one that proved nothing. As long as the
// media may only be late, that is a fragment's length at the most.
func (p *Poller) wider(overlap time.Duration, over bool) time.Duration {
	if _, known := p.learned.fragment(); known && !over {
		return p.usual()
	}
	return min(max(2*overlap, firstOverlap), p.longest())
}

// deadline returns when a slot's grace is over.
func (p *Poller) deadline(s source.Slot) source.Slot {
	if p.newest < s {
		return s.Add(p.edgeGrace())
	}
	return s.Add(p.opts.Grace)
}

// edgeGrace returns the grace of slots at the live edge: where there is nothing
// newer, a slot may still be part of a fragment that goes on, however short the
// configured grace is.
func (p *Poller) edgeGrace() time.Duration {
	return max(p.opts.Grace, p.longest()+max(p.learned.delay, usualDelay))
}

// longest returns how long a fragment may be.
func (p *Poller) longest() time.Duration { return max(p.learned.longest(), p.guess) }

// learn takes note of where the visible media ends, if the answer shows it.
func (p *Poller) learn(a *answer) {
	if p.opts.Lag != Auto || !a.live {
		return
	}
	newest, ok := a.newest()
	f, _ := p.learned.fragment()
	expected := p.learned.steady() && (a.End.Sub(p.learned.edge)%max(f, 1) == 0)
	if ok && newest == a.End && !expected {
		p.learned.tooLate(a.asked.Sub(newest))
		p.misses = 0
		p.polled()
		return
	}
	p.learnEdge(a.begin(newest), newest, a.asked)
}

// learnEdge takes note of the newest visible slot, 0 where there is none. The media
// from begin on is without a hole.
func (p *Poller) learnEdge(begin, newest, asked source.Slot) {
	if newest > p.learned.edge {
		p.learned.advance(begin, newest, asked)
		p.misses = 0
	} else {
		// Only the poll that was due says something about the delay: those that
		// follow may be waiting for a camera that is off.
		if p.misses == 0 && !p.probing() {
			p.learned.tooEarly()
		}
		p.misses++
	}
	p.polled()
}

func (p *Poller) polled() {
	p.polls++
	p.lag.Store(int64(p.learned.delay))
}
