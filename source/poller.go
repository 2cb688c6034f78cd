package source

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

// Auto as [Options.Lag] or [Options.Overlap] learns it from the answers.
const Auto time.Duration = -1

const (
	// MaxFragment is the longest fragment that is reckoned with: an instant
	// without media in a window that starts this much earlier has none.
	MaxFragment = 20 * time.Second

	firstOverlap = 2 * time.Second        // guess while no fragment length is known
	firstPolls   = 500 * time.Millisecond // between polls while nothing is known
	holePolls    = 2 * time.Second        // between polls for what is missing amidst media
	fixedPolls   = time.Second            // between polls with a configured lag, or to give up slots
	minRetry     = 100 * time.Millisecond // after a poll that came too early
	maxWait      = 10 * time.Second       // the longest wait for media that is due
	minBackoff   = 500 * time.Millisecond // after a failed request
	maxBackoff   = 30 * time.Second
)

// Options configure a [Poller].
type Options struct {
	// Stream is the name that the frames carry.
	Stream string
	// Lag is how far behind now to ask; [Auto] learns it.
	Lag time.Duration
	// Overlap is how far before the first wanted slot a window starts; [Auto]
	// learns it.
	Overlap time.Duration
	// Grace is how long after its instant a missing slot may still turn up.
	Grace time.Duration
	// Freshness ends slots older than this as [Stale], without asking for them;
	// 0 keeps all.
	Freshness time.Duration
	// To, unless 0, is the first slot that is not asked for any more: the frames
	// end when all before it are settled.
	To Slot
}

// A Poller asks for windows of slots and yields their frames in order. It is used
// by one goroutine; only Lag and Overlap may be called from others.
type Poller struct {
	fetch  Fetcher
	ledger *Ledger
	opts   Options

	learned learned
	guess   time.Duration // overlap that sufficed, where no fragment length is known
	widened map[Slot]time.Duration
	newest  Slot // the newest slot of which there was media
	absent  Slot // the newest slot known to have no media
	// holesDue is when to ask next for what is missing before newest.
	holesDue Slot
	held     []Frame // arrived, but behind a slot that may still turn up; in order
	misses   int     // successive polls without anything new
	fails    int     // successive failed requests

	lag, overlap atomic.Int64
}

// NewPoller returns a poller of the ledger's wanted slots.
func NewPoller(fetch Fetcher, ledger *Ledger, opts Options) *Poller {
	p := &Poller{
		fetch: fetch, ledger: ledger, opts: opts,
		guess:   firstOverlap,
		widened: map[Slot]time.Duration{},
	}
	p.lag.Store(int64(max(opts.Lag, 0)))
	p.overlap.Store(int64(max(opts.Overlap, 0)))
	return p
}

// Lag returns how far behind now the poller asks, as configured or learned.
func (p *Poller) Lag() time.Duration { return time.Duration(p.lag.Load()) }

// Overlap returns how far before the first wanted slot the last window started.
func (p *Poller) Overlap() time.Duration { return time.Duration(p.overlap.Load()) }

// Frames yields the frames in slot order, each once, as they become available,
// and claims their slots in the ledger: whoever receives a frame says how it ended
// by [Ledger.Resolve]. Slots without a picture are ended by the poller.
//
// A failed request is yielded as an error with an empty frame. To go on is to try
// again after a pause that grows. The sequence ends when ctx does, or when all
// slots before [Options.To] are settled. While the caller works on a frame nothing
// is asked: that is the back-pressure.
func (p *Poller) Frames(ctx context.Context) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		for ctx.Err() == nil {
			more, err := p.round(ctx, yield)
			switch {
			case ctx.Err() != nil || !more || p.done():
				return
			case err != nil:
				p.fails++
				if !yield(Frame{}, err) || !sleep(ctx, backoff(p.fails)) {
					return
				}
			default:
				p.fails = 0
				if !sleep(ctx, p.wait(SlotAt(time.Now()))) {
					return
				}
			}
		}
	}
}

// round asks once for everything that is wanted now. It returns false when the
// caller wants no more frames.
func (p *Poller) round(ctx context.Context, yield func(Frame, error) bool) (more bool, err error) {
	now := SlotAt(time.Now())
	p.extend(now)
	from := p.begin(now)
	done := from // what has been asked for in this round
	for {
		now := SlotAt(time.Now())
		p.extend(now)
		need := p.need(from, now)
		w, ok := Plan(p.ledger, need)
		if !ok {
			return p.release(yield), nil
		}
		p.overlap.Store(int64(p.firstWanted(w).Sub(w.Start)))
		a := answer{
			Window: w, asked: now, entries: make([]entry, w.Slots()),
			live: p.ledger.Grid().Step(w.End, 1) > need.Horizon,
		}
		more, err := p.ask(ctx, &a, yield)
		if !more || err != nil {
			return more, err
		}
		done = max(done, p.ledger.Grid().Step(w.End, 1))
		if from = p.settle(&a); from > w.End {
			from = done
		}
		if !p.release(yield) {
			return false, nil
		}
	}
}

// begin returns the slot from which a round asks: usually after the newest media,
// and from time to time from the first slot that is still missing.
func (p *Poller) begin(now Slot) Slot {
	if now < p.holesDue {
		return p.newest
	}
	every := holePolls
	if f, ok := p.learned.fragment(); ok {
		every = max(every, f)
	}
	p.holesDue = now.Add(every)
	return 0
}

// extend brings the ledger up to now, and gives up what is older than wanted.
func (p *Poller) extend(now Slot) {
	end := now + 1
	if p.opts.To != 0 {
		end = min(end, p.opts.To)
	}
	p.ledger.Extend(end)
	if p.opts.Freshness > 0 {
		p.ledger.GiveUpBefore(now.Add(-p.opts.Freshness), Stale)
	}
}

// need returns what the next window has to take into account.
func (p *Poller) need(from, now Slot) Need {
	grid := p.ledger.Grid()
	n := Need{From: from, Overlap: p.opts.Overlap}
	n.Fragment = MaxFragment
	if f, ok := p.learned.fragment(); ok {
		n.Fragment = f
	}
	if p.opts.Lag != Auto {
		n.Horizon = now.Add(-p.opts.Lag)
	} else {
		// One slot more than should be visible, so that the answer shows where the
		// visible media ends.
		n.Horizon = min(now, grid.Step(now.Add(-p.learned.delay), 1))
	}
	if p.opts.Overlap == Auto {
		n.Overlap = p.autoOverlap(from)
	}
	return n
}

func (p *Poller) autoOverlap(from Slot) time.Duration {
	grid := p.ledger.Grid()
	first, ok := p.ledger.Wanted(from)
	if !ok {
		return 0
	}
	if wide, ok := p.widened[first]; ok {
		return wide
	}
	// Media becomes visible in whole fragments, so the first slot after the edge
	// is the first of a fragment; and after an instant without media a fragment
	// can only start, not go on.
	if before := grid.Step(first, -1); before == p.learned.edge || before == p.absent {
		return grid.Interval()
	}
	if f, ok := p.learned.fragment(); ok {
		return max(f, p.guess)
	}
	return p.guess
}

func (p *Poller) firstWanted(w Window) Slot {
	first, _ := p.ledger.Wanted(w.Start)
	return first
}

// release yields the frames that no earlier slot holds back any more.
func (p *Poller) release(yield func(Frame, error) bool) bool {
	first, waiting := p.ledger.Wanted(0)
	for len(p.held) > 0 && (!waiting || p.held[0].Slot < first) {
		f := p.held[0]
		p.held = slices.Delete(p.held, 0, 1)
		if !yield(f, nil) {
			return false
		}
	}
	return true
}

// hold keeps a frame until its turn comes.
func (p *Poller) hold(f Frame) {
	i, _ := slices.BinarySearchFunc(p.held, f.Slot, func(h Frame, s Slot) int { return int(h.Slot - s) })
	p.held = slices.Insert(p.held, i, f)
}

// done tells whether all slots before To are settled.
func (p *Poller) done() bool {
	if p.opts.To == 0 || p.ledger.End() < p.ledger.Grid().Ceil(p.opts.To) {
		return false
	}
	_, wanted := p.ledger.Wanted(0)
	return !wanted
}

// wait returns how long to wait for the next round.
func (p *Poller) wait(now Slot) time.Duration {
	interval := p.ledger.Grid().Interval()
	if p.opts.Lag != Auto {
		return max(interval, fixedPolls)
	}
	first, waiting := p.ledger.Wanted(0)
	edge, some := p.ledger.Wanted(p.newest)
	next := now.Add(max(interval, firstPolls))
	if due, ok := p.learned.due(); ok && due > now {
		next = due
	} else if f, ok := p.learned.fragment(); ok {
		next = now.Add(min(max(f/10, minRetry)<<min(p.misses, 8), max(f, time.Second)))
	} else if some {
		next = max(next, now.Add(now.Sub(edge)/4))
	}
	if waiting && first < p.newest {
		next = min(next, max(now, p.holesDue))
	}
	// A slot that is given up lets those go that it holds back.
	if waiting && len(p.held) > 0 {
		giveUp := max(first.Add(p.opts.Grace), now.Add(fixedPolls))
		p.holesDue = min(p.holesDue, giveUp)
		next = min(next, giveUp)
	}
	return min(max(next.Sub(now), 0), max(interval, maxWait))
}

// backoff returns the pause after n successive failures: doubling, with jitter,
// so that many streams do not come back at once.
func backoff(n int) time.Duration {
	d := min(minBackoff<<min(n-1, 10), maxBackoff)
	return d/2 + rand.N(d)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// failed returns the error that ends an answer, nil for an empty window, which
// is an answer like others.
func failed(err error) error {
	if errors.Is(err, ErrEmptyWindow) {
		return nil
	}
	return err
}
