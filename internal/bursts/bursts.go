// Package bursts looks more closely at a stream for a bounded time, in the past too: a burst
// reads the slots of a fine grid from some time before an instant until some time after it,
// beside the stream itself and with a ledger of its own.
//
//	all := bursts.New(bursts.Options{…})
//	go all.Serve(ctx)
//	answer, err := all.Ask(bursts.Request{Stream: "front-door", Time: at})
//
// Requests whose times overlap are one burst. What it reads is published beside what the stream
// publishes: see [Once], which sees to it that no subject gets a slot twice. The outcomes of
// its slots are kept for as long as the stream's: see [Bursts.Add].
package bursts

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

const (
	// remembered is for how long after its end a burst is remembered, so that a request for
	// the same time joins it.
	remembered = 10 * time.Minute
	// mostOfStream and mostOfAll are how many parts of bursts may be read at the same time.
	mostOfStream = 8
	mostOfAll    = 256
	// idLength is that of a burst's name.
	idLength = 10
	// maxReason is how many bytes of a request's reason are kept.
	maxReason = 200
)

// Limits are what requests of a stream may ask for, and what is done where they leave it open.
type Limits struct {
	// Interval is the time between slots, Before and After how long before and after the
	// requested instant a burst begins and ends.
	Interval, Before, After time.Duration
	// Most is how long a burst may be; 0 allows none.
	Most time.Duration
	// Slots is how many slots a burst may have, SlotsBecause why; 0 does not limit them.
	Slots        int
	SlotsBecause string
}

// most returns how long a burst of a grid may be.
func (l Limits) most(g source.Grid) time.Duration {
	if l.Slots == 0 {
		return l.Most
	}
	return min(l.Most, g.Step(0, l.Slots).Sub(0))
}

// A Range is a part of a burst, which is read at a stretch.
type Range struct {
	Burst, Stream string
	Interval      time.Duration
	// From is the first slot, To the first after the last.
	From, To source.Slot
}

// A Reading is a range that is being read.
type Reading interface {
	// Run returns when all slots have ended, or with an error when they will not.
	Run(ctx context.Context) error
	// Stats returns the figures of its ledger, at any time.
	Stats() source.Stats
}

// Options are what bursts are made of.
type Options struct {
	// Now returns the present by the clock of the slots.
	Now func() time.Time
	// Limits returns those of a stream, or why it takes no bursts: its error is that of Ask.
	Limits func(stream string) (Limits, error)
	// Open begins to read a range. Its error is that of Ask.
	Open func(Range) (Reading, error)
	Log  *slog.Logger
}

// A Request asks for a burst. What is nil is as the stream's limits say.
type Request struct {
	Stream string
	// Time is the instant that something happened.
	Time                    time.Time
	Before, After, Interval *time.Duration
	// Reason is for the log and the page.
	Reason string
}

// An Answer says what became of a request: the burst as it is now, with all that other
// requests have asked for.
type Answer struct {
	ID, Stream string
	// From is its first slot, To the first after its last.
	From, To source.Slot
	Interval time.Duration
	// Slots is how many it has.
	Slots int
	// Joined says that the burst had begun before.
	Joined bool
}

// A RefusedError says why there is no burst, in words for whoever asked.
type RefusedError struct {
	Text string
	// Busy says that the same request may be answered later.
	Busy bool
}

// Error implements error.
func (e *RefusedError) Error() string { return e.Text }

func refuse(format string, args ...any) error {
	return &RefusedError{Text: fmt.Sprintf(format, args...)}
}

// Bursts are those of all streams. Its methods are safe for concurrent use.
type Bursts struct {
	opts Options
	wake chan struct{} // holds a value while there are parts to begin

	mu      sync.Mutex
	streams map[string]*stream
	queue   []*part
	running int // parts
	ended   bool
}

// A stream is what is known of the bursts of one.
type stream struct {
	bursts []*burst
	ended  source.Stats // of the parts that have ended
	begun  uint64       // bursts
}

// A burst is contiguous, though its parts may be read one after another.
type burst struct {
	id       string
	from, to source.Slot
	grid     source.Grid // the finest of its parts
	reason   string
	parts    []*part
	began    time.Time
}

// A part is a range of a burst.
type part struct {
	Range
	Reading
	done    bool
	cancel  context.CancelFunc // nil until it is read
	stopped bool               // it is not to be read any more
	short   bool               // not all of it was read
	gone    bool               // its stream has been forgotten
}

// New returns bursts of which none is read before [Bursts.Serve].
func New(o Options) *Bursts {
	return &Bursts{opts: o, wake: make(chan struct{}, 1), streams: map[string]*stream{}}
}

// Serve reads the bursts that are asked for until ctx ends, and then waits for those under way.
func (b *Bursts) Serve(ctx context.Context) {
	var reading sync.WaitGroup
	defer reading.Wait()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.ended = true
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		}
		b.mu.Lock()
		queue := b.queue
		b.queue = nil
		b.mu.Unlock()
		for _, p := range queue {
			reading.Go(func() { b.read(ctx, p) })
		}
	}
}

// read reads a part, and adds its outcomes to those of the stream.
func (b *Bursts) read(ctx context.Context, p *part) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b.mu.Lock()
	p.cancel = cancel
	stopped := p.stopped
	b.mu.Unlock()
	err := errStopped
	if !stopped {
		err = p.Run(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p.done, p.short = true, err != nil
	b.running--
	st := p.Stats()
	// What was cut short never ends: nobody gets it.
	st.Ended[source.Dropped] += st.Pending
	st.Pending = 0
	if s := b.streams[p.Stream]; s != nil && !p.gone {
		s.ended = sum(s.ended, st)
	}
	log := b.opts.Log.With("stream", p.Stream, "burst", p.Burst)
	switch {
	case err != nil:
		log.Warn("a burst was cut short", "err", err, "published", st.Ended[source.Published])
	default:
		log.Info("a part of a burst has ended", "from", p.From.String(), "to", p.To.String(), "published", st.Ended[source.Published], "left_to_the_stream", st.Ended[source.Skipped])
	}
}

// Ask begins a burst, or has one that there is read more. It does not wait for anything to be
// read. The error is a [*RefusedError], or one of the options.
func (b *Bursts) Ask(r Request) (Answer, error) {
	limits, err := b.opts.Limits(r.Stream)
	if err != nil {
		return Answer{}, err
	}
	w, err := b.window(r, limits)
	if err != nil {
		return Answer{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return Answer{}, &RefusedError{Text: "cvfeeder is stopping", Busy: true}
	}
	s := b.streams[r.Stream]
	if s == nil {
		s = &stream{}
	}
	s.forget(source.SlotAt(b.opts.Now()).Add(-remembered))
	to, joined := s.join(&w, limits.most(w.grid))
	missing := s.missing(w)
	if err := b.room(s, len(missing)); err != nil {
		return Answer{}, err
	}
	parts := make([]*part, len(missing))
	for i, m := range missing {
		range1 := Range{to.id, r.Stream, w.grid.Interval(), m.from, m.to}
		reading, err := b.opts.Open(range1)
		if err != nil {
			return Answer{}, err
		}
		parts[i] = &part{Range: range1, Reading: reading}
	}
	b.streams[r.Stream] = s
	if !joined {
		to.reason, to.began = clip(r.Reason), time.Now()
		s.bursts = append(s.bursts, to)
		s.begun++
	}
	to.extend(w)
	to.parts = append(to.parts, parts...)
	b.queue = append(b.queue, parts...)
	b.running += len(parts)
	select {
	case b.wake <- struct{}{}:
	default:
	}
	answer := to.answer(r.Stream, joined)
	b.opts.Log.Info("a burst was asked for", "stream", r.Stream, "burst", to.id, "joined", joined, "from", to.from.String(),
		"to", to.to.String(), "interval", to.grid.Interval(), "parts", len(parts), "reason", to.reason)
	return answer, nil
}

// Begin is Ask with the stream's limits, for what happens inside of this process.
func (b *Bursts) Begin(stream string, at time.Time, reason string) (Answer, error) {
	return b.Ask(Request{Stream: stream, Time: at, Reason: reason})
}

// room tells whether so many more parts may be read.
func (b *Bursts) room(s *stream, parts int) error {
	of := 0
	for _, burst := range s.bursts {
		of += burst.running()
	}
	if parts > 0 && (of+parts > mostOfStream || b.running+parts > mostOfAll) {
		return &RefusedError{Busy: true, Text: fmt.Sprintf(
			"too many bursts at the same time: at most %d parts of a stream and %d of all are read: ask again in some seconds", mostOfStream, mostOfAll)}
	}
	return nil
}

// errStopped is why a part ends that was never read.
var errStopped = errors.New("the stream has stopped")

// End ends the bursts of a stream that is not read here any more. What they have not read can be
// asked for again.
func (b *Bursts) End(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams[name].end(false)
}

// Forget drops what is known of a stream that is gone, and ends its bursts.
func (b *Bursts) Forget(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams[name].end(true)
	delete(b.streams, name)
}

// end ends all parts that are read. The caller holds the lock.
func (s *stream) end(gone bool) {
	if s == nil {
		return
	}
	for _, burst := range s.bursts {
		for _, p := range burst.parts {
			if p.gone = gone; p.done {
				continue
			}
			p.stopped = true
			if p.cancel != nil {
				p.cancel()
			}
		}
	}
}

// Add returns the figures of a stream together with those of all its bursts: of those that have
// ended as well, so that nothing ever becomes less. Start, Cursor and Told stay the stream's.
func (b *Bursts) Add(name string, st source.Stats) source.Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.streams[name]
	if s == nil {
		return st
	}
	st = sum(st, s.ended)
	for _, burst := range s.bursts {
		for _, p := range burst.parts {
			if !p.done {
				st = sum(st, p.Stats())
			}
		}
	}
	return st
}

// sum returns the figures of two ledgers together, at the place of the first one.
func sum(a, more source.Stats) source.Stats {
	a.Expected += more.Expected
	a.Pending += more.Pending
	for o := range a.Ended {
		a.Ended[o] += more.Ended[o]
		a.Gaps[o] += more.Gaps[o]
		a.GapTime[o] += more.GapTime[o]
	}
	a.Newest = max(a.Newest, more.Newest)
	a.Withdrawn += more.Withdrawn
	a.Late += more.Late
	return a
}

// A State is how a burst stands.
type State struct {
	Answer
	Reason string
	Began  time.Time
	// Running says that not all of its slots have ended.
	Running bool
	// Stats are those of all of its parts.
	Stats source.Stats
}

// Of returns the bursts of a stream that are read or were of late, the newest last.
func (b *Bursts) Of(name string) []State {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.streams[name]
	if s == nil {
		return nil
	}
	s.forget(source.SlotAt(b.opts.Now()).Add(-remembered))
	all := make([]State, len(s.bursts))
	for i, burst := range s.bursts {
		all[i] = State{Answer: burst.answer(name, false), Reason: burst.reason, Began: burst.began, Running: burst.running() > 0}
		for _, p := range burst.parts {
			all[i].Stats = sum(all[i].Stats, p.Stats())
		}
	}
	return all
}

// Begun returns how many bursts of a stream have begun.
func (b *Bursts) Begun(name string) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.streams[name]; s != nil {
		return s.begun
	}
	return 0
}

func (b *burst) running() (n int) {
	for _, p := range b.parts {
		if !p.done {
			n++
		}
	}
	return n
}

func (b *burst) answer(name string, joined bool) Answer {
	return Answer{
		ID: b.id, Stream: name, From: b.from, To: b.to, Interval: b.grid.Interval(),
		Slots: b.grid.Count(b.grid.Ceil(b.from), b.grid.Ceil(b.to)), Joined: joined,
	}
}

func clip(reason string) string { return strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "") }

func newID() string { return strings.ToLower(rand.Text()[:idLength]) }
