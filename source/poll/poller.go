// Package poll reads a stream's frames from a service that answers questions about
// windows of time, as GetImages of Amazon Kinesis Video Streams does.
//
// A [Poller] asks a [Fetcher] for windows of slots and yields the frames in slot order.
// Media becomes visible in whole fragments, and of a fragment that is already running
// when a window opens the service returns nothing. So every window starts some time
// before the first slot that is wanted, and a missing slot is asked for again until its
// grace is over. How long fragments are, and how late they become visible, is learned
// from the answers.
//
//	ledger := source.NewLedger(grid, source.SlotAt(time.Now()))
//	poller := poll.New(fetcher, ledger, poll.Options{
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
// The package imports the standard library, source and internal/pacing only. The fetcher
// for the real service is source/kinesis; a fake of that service for tests is
// source/kinesis/kinesistest.
//
// The package is larger than most, because what is asked for, when, and what an answer
// proves depend on the same estimates of one stream.
//
// Importers can rely on [New], [Options], [Poller], [Fetcher], [Window] and [Image]. When
// a poller asks, and for which windows, may change with any release.
package poll

import (
	"context"
	"iter"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/source"
)

// Auto stands for a value that is learned from the answers, as [Options.Lag] or
// [Options.Overlap].
const Auto time.Duration = -1

// MaxFragment is the longest fragment that is expected while none has been seen. Longer
// ones are learned from the answers.
const MaxFragment = 20 * time.Second

// DefaultGrace is the default of [Options.Grace].
const DefaultGrace = 10 * time.Second

// Nothing new is asked for while more than this is open.
const (
	maxHeld = 32 << 20 // bytes of frames that are held
	maxOpen = 10_000   // slots of which answers had no picture
)

// Options configure a [Poller]. The zero values of Lag and Overlap mean none at all:
// most callers want [Auto].
type Options struct {
	// Stream is the name that the frames carry.
	Stream string
	// Lag is how far behind now to ask, at least; [Auto] asks as soon as the media should be
	// visible. Either way the poller asks for whole fragments, once for each.
	Lag time.Duration
	// Overlap is how long before the first wanted slot a window starts; [Auto] learns
	// it.
	Overlap time.Duration
	// Fragment is how long fragments probably are, by another poller of the stream; 0 if nobody
	// knows. It is the first guess of an overlap that is learned.
	Fragment time.Duration
	// Check, if set, tells whether the stream may be read. Frames waits until it
	// returns nil, and yields each failure as an error.
	Check func(context.Context) error
	// Grace is how long after the media of a slot should have been visible it may still
	// turn up. Until that is known, and where there is nothing newer, it is two minutes at
	// least. 0 means [DefaultGrace].
	Grace time.Duration
	// Freshness ends slots older than this as [source.Stale], without asking for them;
	// 0 keeps all.
	Freshness time.Duration
	// Again is how far back slots that ended as [source.NoMedia] may still turn up: they
	// are looked at again at growing pauses, and their frames come out of order. 0 gives
	// them up for good.
	Again time.Duration
	// Retention, if set, returns how long the service keeps media: slots older than
	// that end as [source.NoMedia] without asking for them. 0 means unknown.
	Retention func() time.Duration
	// Spread, if set, returns the longest random delay that is added before a poll,
	// so that many streams whose media becomes visible together are not asked for
	// together.
	Spread func() time.Duration
	// Fetched, if set, is called after each request of Frames: with how long it took,
	// without the time in which the receiver worked on frames of its answer, and how it
	// ended. An answer without any media is an answer: its err is nil.
	Fetched func(took time.Duration, err error)
	// Now, if set, returns the present instant by the clock of the media's timestamps; by
	// default it is the host's.
	Now func() time.Time
	// Unsure, if set, tells that Now may be wrong: meanwhile no slot is given up because
	// there is no media.
	Unsure func() bool
	// Sleep, if set, waits in place of a timer, so that together with Now a poller lives
	// in a time that is passed in. Frames ends when it returns an error, which it does
	// when ctx has ended.
	Sleep func(ctx context.Context, d time.Duration) error
	// FromNow says that the ledger's first slot stands for the present. If the media's
	// timestamps are the camera's, see [Trailer], the ledger begins as much earlier or
	// later as the camera's clock differs from the service's, once that is known.
	FromNow bool
	// Spend, if set, is called before [Poller.Frame] asks, with how many images that costs.
	// Its error is the Poller's, which then does not ask.
	Spend func(images int) error
	// Late, if set, is told after each wait how much longer it took than planned.
	Late func(time.Duration)
	// Wanted, if set, tells whether anybody wants the frames, and whether that is known. It is
	// called once a second. When nobody has wanted them for the time of Linger, and before
	// anybody does, nothing is asked for, and slots older than Lookback end as
	// [source.Unwatched]. When somebody comes, the frames begin there. While it is not known,
	// no slot is given up for that.
	Wanted           func(context.Context) (wanted, known bool)
	Linger, Lookback time.Duration
	// Pace, if set, returns how far apart slots are asked for at present. It is called about
	// once a second and may change at any time. Up to the grid's interval, 0 included, all are
	// asked for. If it is larger, it is rounded up to a whole multiple of that, at most
	// [source.MaxInterval]: the slots that are no multiples of it are left out, and end as
	// [source.Skipped]. Windows are asked for at the wider interval, so that fewer images are
	// made. If it is negative, nothing is asked for, and all slots end so up to the present.
	Pace func() time.Duration
	// To, unless 0, is the first slot that is no longer asked for: the frames end when
	// all slots before it are settled.
	To source.Slot
	// Cause is why the frames are read, for [Window.Cause].
	Cause source.Cause
}

// A Poller asks for windows of slots and yields their frames in order. It implements
// [source.Feed].
type Poller struct {
	fetcher Fetcher
	lister  Lister // nil where fragments cannot be listed
	pager   Pager  // nil where the size of pages is not known
	ledger  paced
	opts    Options

	estimate  estimate
	cadence   cadence
	trailed   source.Slot          // the newest slot of an answer whose end was that of the lag
	guess     time.Duration        // an overlap that sufficed while no fragment length is known
	longer    int                  // grows with overlaps that were too short, and falls with those that sufficed
	vain      time.Duration        // the widest overlap that found nothing since one did
	gone      source.Slot          // the last slot that was given up for want of media
	mistakes  int                  // fragments in a row that went on after their end
	clues     map[source.Slot]clue // what answers told of slots that they have no picture of
	shown     shown                // what they told of the media around these
	present   source.Slot          // of the last cycle
	newest    source.Slot          // the newest slot known to have media
	askedTo   source.Slot          // the newest slot that was asked for at least once
	charged   source.Slot          // the newest slot that an image was asked for of
	recheckAt source.Slot          // when to ask again for what is missing
	decide    source.Slot          // the newest slot that is given up unless it turns up
	pollAt    source.Slot          // when to ask for what is new
	held      []source.Frame       // arrived, but after a slot that may still turn up; in slot order
	polls     int                  // of the live edge
	cut       bool                 // the last one ended amid media
	misses    int                  // consecutive polls of the live edge that found nothing new
	retry     pacing.Backoff       // of failed requests

	listed    listedEdge
	listRetry pacing.Backoff // of failed listings
	listAgain source.Slot    // fragments are not listed before this instant

	second             second
	audience           audience
	pace               atomic.Int64              // see FeedState.Pace
	paces              map[time.Duration]learned // by the intervals of the paces before
	resting            atomic.Bool               // nobody wants the frames
	camera             cameraClock
	offset, clockTrail atomic.Int64 // how far the present is behind that of Options.Now, and the camera's clock
	located            atomic.Bool  // the present is that of the camera's clock

	lag, overlap, heldBytes, longest, wait, fragment, visible atomic.Int64
}

// New returns a poller of the slots that the ledger wants. If the fetcher is also a
// [Lister], fragments are listed where that costs less than asking for images.
func New(fetcher Fetcher, ledger *source.Ledger, opts Options) *Poller {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Sleep == nil {
		opts.Sleep = pacing.Sleep
	}
	if opts.Grace == 0 {
		opts.Grace = DefaultGrace
	}
	p := &Poller{
		fetcher: fetcher, ledger: paced{ledger, ledger.Grid()}, opts: opts,
		retry:     pacing.Backoff{Min: MinRetry, Max: MaxRetry},
		listRetry: pacing.Backoff{Min: MinRetry, Max: MaxRetry},
		guess:     firstOverlap,
		longer:    maxMistakes - 1, // nothing speaks for the first guess yet
		clues:     map[source.Slot]clue{},
		estimate:  estimate{interval: ledger.Grid().Interval(), least: max(opts.Lag, 0)},
		cadence:   cadence{interval: ledger.Grid().Interval()},
		second:    second{due: map[source.Slot]source.Slot{}},
	}
	if opts.Fragment > 0 {
		p.guess = opts.Fragment + ledger.Grid().Interval()
	}
	ledger.Remember(opts.Again)
	p.lister, _ = as[Lister](fetcher)
	p.pager, _ = as[Pager](fetcher)
	if trailer, ok := as[Trailer](fetcher); ok && trailer.Producer() && !p.past() {
		p.opts.Grace += tolerance
		p.camera = cameraClock{
			trailer: trailer, received: trailer.Received(), listing: true,
			pause: pacing.Backoff{Min: minLook, Max: maxLook},
		}
	}
	p.longestWait()
	p.longest.Store(int64(MaxFragment))
	p.lag.Store(int64(max(opts.Lag, 0)))
	p.overlap.Store(int64(max(opts.Overlap, 0)))
	return p
}

// State returns the bytes of the frames that wait for an earlier slot; how far behind
// now the poller asks, as configured or learned; how long before the first wanted slot
// the last window started; and how long a missing slot is waited for.
func (p *Poller) State() source.FeedState {
	return source.FeedState{
		HeldBytes: p.heldBytes.Load(),
		Lag:       time.Duration(p.lag.Load()),
		Overlap:   time.Duration(p.overlap.Load()),
		Trail:     time.Duration(p.clockTrail.Load()),
		Behind:    time.Duration(p.offset.Load()),
		Unknown:   p.unknown(),
		Wait:      time.Duration(p.wait.Load()),
		Fragment:  time.Duration(p.fragment.Load()),
		Visible:   time.Duration(p.visible.Load()),
		Resting:   p.resting.Load(),
		Pace:      time.Duration(p.pace.Load()),
	}
}

// Frames yields the frames in slot order, each once, as they become available, and
// claims their slots in the ledger: the receiver says how each ended with
// [source.Ledger.Resolve]. Slots without a picture are ended by the poller.
//
// A failed request is yielded as an error with an empty frame; continuing the loop tries
// again after a growing pause. The sequence ends when ctx does, or when all slots before
// [Options.To] are settled. Nothing is requested while the caller works on a frame: that
// is the back-pressure.
func (p *Poller) Frames(ctx context.Context) iter.Seq2[source.Frame, error] {
	return func(yield func(source.Frame, error) bool) {
		defer p.discard()
		if !p.waitReadable(ctx, yield) {
			return
		}
		p.resting.Store(p.opts.Wanted != nil) // until it is known that somebody wants them
		for ctx.Err() == nil {
			more, err := p.cycle(ctx, yield)
			switch {
			case ctx.Err() != nil || !more || p.done():
				return
			case err != nil:
				if !yield(source.Frame{}, err) || p.opts.Sleep(ctx, p.retry.Next()) != nil {
					return
				}
			default:
				p.answered()
				if !p.pause(ctx) {
					return
				}
			}
		}
	}
}

// now returns the present instant by the clock of the media's timestamps.
func (p *Poller) now() source.Slot { return p.serviceNow().Add(-time.Duration(p.offset.Load())) }

// serviceNow returns the present instant by the clock of [Options.Now].
func (p *Poller) serviceNow() source.Slot { return source.SlotAt(p.opts.Now()) }

// unknown tells whether it is not known where the camera's clock stands.
func (p *Poller) unknown() bool { return p.camera.trailer != nil && !p.located.Load() }

// past tells whether the stream ends so long ago that no clock matters.
func (p *Poller) past() bool { return p.opts.To != 0 && p.serviceNow().Sub(p.opts.To) > farSearch }

// answered takes note that the service answers: what failed before is no reason for a
// long pause after the next failure.
func (p *Poller) answered() {
	p.retry.Reset()
}

// pause waits until the next cycle is due. It returns false when ctx ends first.
func (p *Poller) pause(ctx context.Context) bool {
	d := p.untilNextCycle(p.now())
	if p.camera.waiting {
		d = min(max(p.camera.next.Sub(p.serviceNow()), 0), maxUntilMedia)
	}
	resting := p.resting.Load()
	if resting {
		d = p.untilAsked(p.serviceNow())
	}
	if p.opts.Spread != nil && !resting {
		if spread := p.opts.Spread(); spread > 0 && d > 0 {
			d += rand.N(spread)
		}
	}
	if p.pace.Load() < 0 {
		d = askPace
	}
	begin := time.Now()
	planned, ok := p.sleep(ctx, d)
	if ok && p.opts.Late != nil && planned > 0 {
		p.opts.Late(time.Since(begin) - planned)
	}
	return ok
}

// sleep waits for so long, or until the pace changes, and returns how long that was to take. It
// returns false when ctx ends first.
func (p *Poller) sleep(ctx context.Context, d time.Duration) (planned time.Duration, ok bool) {
	if p.opts.Pace == nil {
		return d, p.opts.Sleep(ctx, d) == nil
	}
	for planned < d {
		part := min(d-planned, askPace)
		if p.opts.Sleep(ctx, part) != nil {
			return planned, false
		}
		if planned += part; planned < d && p.paceChanged() {
			break
		}
	}
	return planned, ctx.Err() == nil
}

// done tells whether all slots before To are settled.
func (p *Poller) done() bool {
	if _, missing := p.ledger.Wanted(0); missing || !p.complete() {
		return false
	}
	p.ledger.GiveUpBefore(p.opts.To, source.Skipped) // after the last slot of the pace
	return true
}

// complete tells whether the last slot before To is there to be asked for.
func (p *Poller) complete() bool {
	return p.opts.To != 0 && !p.camera.waiting && p.ledger.Ledger.End() >= p.ledger.Ledger.Grid().Ceil(p.opts.To)
}
