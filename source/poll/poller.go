// Package poll reads a stream's frames from a service that answers questions about
// windows of time, as GetImages of Amazon Kinesis Video Streams does.
//
// A [Poller] asks a [Fetcher] for windows of slots and yields the frames in slot order.
// Where to look for a slot, and when to give it up, is decided by [Plan], a pure
// function; how long fragments are and how late they become visible is learned from the
// answers.
//
//	ledger := source.NewLedger(grid, source.SlotAt(time.Now()))
//	poller := poll.NewPoller(fetcher, ledger, poll.Options{
//		Stream: "front-door", Lag: poll.Auto, Overlap: poll.Auto,
//	})
//	for frame, err := range poller.Frames(ctx) {
//		if err != nil {
//			log.Print(err) // continuing the loop tries again
//			continue
//		}
//		// Use frame.Data, then say how the slot ended:
//		ledger.Resolve(frame.Slot, source.Published)
//	}
//
// The package imports the standard library and package source only. The fetcher of the
// real service is source/kinesis; a fake of it for tests is source/kinesis/kinesistest.
package poll

import (
	"context"
	"iter"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// Auto as [Options.Lag] or [Options.Overlap] learns it from the answers.
const Auto time.Duration = -1

const (
	// MaxFragment is the longest fragment that is reckoned with: an instant
	// without media in a window that starts this much earlier has none.
	MaxFragment = 20 * time.Second

	firstOverlap = 2 * time.Second        // guess while no fragment length is known
	firstPolls   = 500 * time.Millisecond // between polls while nothing is known
	reaskPolls   = 2 * time.Second        // between polls for what is missing
	fixedPolls   = time.Second            // between polls with a configured lag, or to give slots up
	minRetry     = 100 * time.Millisecond // after a poll that came too early
	maxWait      = 10 * time.Second       // the longest wait for media that is due
	usualDelay   = 5 * time.Second        // until a fragment that has ended is visible, at most
	maxHeld      = 32 << 20               // bytes of frames that are held back, about
	minBackoff   = 500 * time.Millisecond // after a failed request
	maxBackoff   = 30 * time.Second
)

// DefaultGrace is that of [Options].
const DefaultGrace = 10 * time.Second

// Options configure a [Poller]. Lag and Overlap of 0 are taken at their word:
// [Auto] is what most want.
type Options struct {
	// Stream is the name that the frames carry.
	Stream string
	// Lag is how far behind now to ask; [Auto] learns it.
	Lag time.Duration
	// Overlap is how far before the first wanted slot a window starts; [Auto]
	// learns it.
	Overlap time.Duration
	// Grace is how long after its instant a missing slot may still turn up. 0 stands
	// for [DefaultGrace].
	Grace time.Duration
	// Freshness ends slots older than this as [source.Stale], without asking for them;
	// 0 keeps all.
	Freshness time.Duration
	// Retention, where set, returns how long the service keeps media: slots older
	// than that end as [source.NoMedia] without asking for them. 0 is unknown.
	Retention func() time.Duration
	// Spread, where set, returns how far polls that are due at the same time are to be
	// spread: each is put off by some of it, at random, so that many streams whose
	// media comes together are not asked for together.
	Spread func() time.Duration
	// Late, where set, is told how late each poll begins that was waited for.
	Late func(time.Duration)
	// To, unless 0, is the first slot that is not asked for any more: the frames
	// end when all before it are settled.
	To source.Slot
}

// A Poller asks for windows of slots and yields their frames in order. It is used
// by one goroutine; only Lag, Overlap and HeldBytes may be
// called from others.
type Poller struct {
	fetch  Fetcher
	lister Lister // nil where fragments cannot be listed
	ledger *source.Ledger
	opts   Options

	learned learned
	guess   time.Duration // overlap that sufficed, where no fragment length is known
	widened map[source.Slot]time.Duration
	after   map[source.Slot]source.Slot // of a missing slot: its fragment starts after this one
	newest  source.Slot                 // the newest slot of which there was media
	asked   source.Slot                 // what was asked for at least once ends here
	reask   source.Slot                 // when to ask again for what is missing
	held    []source.Frame              // arrived, but behind a slot that may still turn up; in order
	polls   int                         // at the live edge
	misses  int                         // successive polls without anything new
	fails   int                         // successive failed requests

	listFails int         // successive failed listings
	listAgain source.Slot // when to list again

	lag, overlap, heldBytes atomic.Int64
}

// NewPoller returns a poller of the ledger's wanted slots. Where the fetcher is a
// [Lister] too, fragments are listed where that costs less.
func NewPoller(fetch Fetcher, ledger *source.Ledger, opts Options) *Poller {
	if opts.Grace == 0 {
		opts.Grace = DefaultGrace
	}
	p := &Poller{
		fetch: fetch, ledger: ledger, opts: opts,
		guess:   firstOverlap,
		widened: map[source.Slot]time.Duration{},
		after:   map[source.Slot]source.Slot{},
		learned: learned{interval: ledger.Grid().Interval()},
	}
	p.lister, _ = fetch.(Lister)
	p.lag.Store(int64(max(opts.Lag, 0)))
	p.overlap.Store(int64(max(opts.Overlap, 0)))
	return p
}

// Lag returns how far behind now the poller asks, as configured or learned.
func (p *Poller) Lag() time.Duration { return time.Duration(p.lag.Load()) }

// Overlap returns how far before the first wanted slot the last window started.
func (p *Poller) Overlap() time.Duration { return time.Duration(p.overlap.Load()) }

// HeldBytes returns the bytes of the frames that wait for an earlier slot.
func (p *Poller) HeldBytes() int64 { return p.heldBytes.Load() }

// Frames yields the frames in slot order, each once, as they become available,
// and claims their slots in the ledger: whoever receives a frame says how it ended
// by [source.Ledger.Resolve]. Slots without a picture are ended by the poller.
//
// A failed request is yielded as an error with an empty frame. To go on is to try
// again after a pause that grows. The sequence ends when ctx does, or when all
// slots before [Options.To] are settled. While the caller works on a frame nothing
// is asked: that is the back-pressure.
func (p *Poller) Frames(ctx context.Context) iter.Seq2[source.Frame, error] {
	return func(yield func(source.Frame, error) bool) {
		for ctx.Err() == nil {
			more, err := p.round(ctx, yield)
			switch {
			case ctx.Err() != nil || !more || p.done():
				return
			case err != nil:
				p.fails++
				if !yield(source.Frame{}, err) || !sleep(ctx, backoff(p.fails)) {
					return
				}
			default:
				p.fails = 0
				if !p.pause(ctx) {
					return
				}
			}
		}
	}
}

// pause waits for the next round. It returns false when ctx ends first.
func (p *Poller) pause(ctx context.Context) bool {
	d := p.wait(source.SlotAt(time.Now()))
	if p.opts.Spread != nil {
		if spread := p.opts.Spread(); spread > 0 && d > 0 {
			d += rand.N(spread)
		}
	}
	begin := time.Now()
	if !sleep(ctx, d) {
		return false
	}
	if p.opts.Late != nil && d > 0 {
		p.opts.Late(time.Since(begin) - d)
	}
	return true
}

// release yields the frames that no earlier slot holds back any more.
func (p *Poller) release(yield func(source.Frame, error) bool) bool {
	first, waiting := p.ledger.Wanted(0)
	for len(p.held) > 0 && (!waiting || p.held[0].Slot < first) {
		f := p.held[0]
		p.held = slices.Delete(p.held, 0, 1)
		p.heldBytes.Add(-int64(len(f.Data)))
		if !yield(f, nil) {
			return false
		}
	}
	return true
}

// hold keeps a frame until its turn comes.
func (p *Poller) hold(f source.Frame) {
	i, _ := slices.BinarySearchFunc(p.held, f.Slot, func(h source.Frame, s source.Slot) int { return int(h.Slot - s) })
	p.held = slices.Insert(p.held, i, f)
	p.heldBytes.Add(int64(len(f.Data)))
}

// done tells whether all slots before To are settled.
func (p *Poller) done() bool {
	if p.opts.To == 0 || p.ledger.End() < p.ledger.Grid().Ceil(p.opts.To) {
		return false
	}
	_, wanted := p.ledger.Wanted(0)
	return !wanted
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
