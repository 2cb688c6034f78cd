package pipeline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/tracing"
	"github.com/cvfeeder/cvfeeder/metrics/status"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/transform"
)

const (
	queueLength = 64               // jobs of a stream that wait for their delivery
	checkAgain  = 15 * time.Second // after checks that failed, at most
	logAgain    = time.Minute      // while something goes on to fail
	logSoon     = 10 * time.Second // where it fails now and then
	// stalledAfter the grace, a stream whose cursor has not moved is not ready.
	stalledAfter = 20 * time.Second
)

// A Stream is one camera and what it is turned into.
type Stream struct {
	Name    string
	Fetcher poll.Fetcher
	// Check tells whether the stream can be read; nil takes it as read.
	Check func(context.Context) error
	Grid  source.Grid
	// From is the first slot, where there is no cursor for Key.
	From source.Slot
	// Key is that of the stream's cursor; "" neither loads nor keeps one.
	Key string
	// Range tells that From is a time of the user's, not now.
	Range bool
	Poll  poll.Options
	// Outputs are made of every frame, and Subjects are theirs, by index.
	Outputs  []*transform.Output
	Subjects []string
}

// stream is a Stream at work.
type stream struct {
	Stream
	ledger  *source.Ledger
	poller  *poll.Poller
	history *status.History
	trace   *tracing.Stream
	log     *slog.Logger

	line  line
	views views
	told  atomic.Int64 // the slot up to which they have been

	stop   context.CancelFunc // asking
	giveUp context.CancelFunc // what is in flight
	ended  chan struct{}      // closed when its loop has

	mu      sync.Mutex
	problem string       // why it cannot be read at present
	began   time.Time    // when that did
	logged  time.Time    // when that was logged last
	said    bool         // that it cannot be read, and not yet that it can
	reason  string       // why a slot was lost last
	unsized int64        // bytes of the last tensors whose size is not known beforehand
	moved   time.Time    // when the cursor last moved
	last    source.Stats // what the tick before saw
}

func (p *Pipeline) newStream(s Stream) *stream {
	log := p.opts.Log.With("stream", s.Name)
	if p.opts.Cursors != nil && s.Key != "" {
		if cursor, ok := p.opts.Cursors.Load(s.Key); ok {
			s.From = cursor
			log.Info("going on at the saved cursor", "cursor", cursor.String())
		}
	}
	ledger := source.NewLedger(s.Grid, s.From)
	s.Poll.Stream, s.Poll.Spread = s.Name, p.spread
	stage := p.opts.Metrics.Stage.WithLabelValues("fetch")
	for _, o := range s.Outputs {
		p.opts.Metrics.Output(o.Name)
	}
	history := status.NewHistory(s.Grid, ledger.Stats().Start)
	ledger.Watch(func(from source.Slot, n int, o source.Outcome) { history.Add(from, n, o, time.Now()) })
	st := &stream{
		Stream: s, ledger: ledger, history: history, log: log, moved: time.Now(), ended: make(chan struct{}),
		unsized: firstUnsized, trace: p.opts.Tracer.Stream(s.Name),
	}
	st.told.Store(int64(ledger.Stats().Cursor))
	st.poller = poll.New(watched{st.trace.Fetcher(s.Fetcher), func(d time.Duration, err error) {
		stage.Observe(d.Seconds())
		if err == nil || errors.Is(err, poll.ErrEmptyWindow) {
			st.well()
		}
	}}, ledger, s.Poll)
	return st
}

// The polls that many streams have due at the same time are spread.
const (
	spreadEach = 50 * time.Millisecond // for each hundred streams
	spreadMost = 5 * time.Second
)

// spread returns how far polls are put off at most. As few streams as one machine
// usually has are not worth it.
func (p *Pipeline) spread() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(time.Duration(len(p.streams)/100)*spreadEach, spreadMost)
}

// newIdle returns a stream that is not polled.
func newIdle(s Stream, log *slog.Logger) *stream {
	return &stream{Stream: s, log: log.With("stream", s.Name), unsized: firstUnsized}
}

// trouble notes why the stream cannot be read, and logs it when it begins and once
// a minute. Of one that fails again and again a line in ten seconds is enough.
func (s *stream) trouble(err error) {
	s.mu.Lock()
	now := time.Now()
	wait := logAgain
	if s.problem == "" {
		wait = logSoon
		s.began = now
	}
	say := now.Sub(s.logged) >= wait
	s.problem = err.Error()
	if say {
		s.logged, s.said = now, true
	}
	s.mu.Unlock()
	if say {
		s.log.Warn("the stream could not be read, trying again", "err", err)
	}
}

// well notes that the stream can be read.
func (s *stream) well() {
	s.mu.Lock()
	said := s.said
	s.problem, s.said = "", false
	s.mu.Unlock()
	if said {
		s.log.Info("the stream can be read again")
	}
}

// lost notes why a slot got no tensor, for the log's next line.
func (s *stream) lost(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reason = err.Error()
}

// notReady returns why the stream is not being read, "" where it is.
func (s *stream) notReady(now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.problem != "":
		return s.problem
	case s.stalled(now):
		return fmt.Sprintf("stalled: no slot has ended for %v", now.Sub(s.moved).Round(time.Second))
	}
	return ""
}

// stalled tells whether the cursor has stood still for too long. Its caller has
// locked the stream.
func (s *stream) stalled(now time.Time) bool {
	return now.Sub(s.moved) > s.Poll.Grace+stalledAfter+s.Grid.Interval()
}

// watched is a fetcher that tells how each answer ended, and how long it took
// without the time in which its caller worked on what it yielded.
type watched struct {
	poll.Fetcher
	answered func(time.Duration, error)
}

// Fragments implements poll.Lister, as far as the fetcher does.
func (f watched) Fragments(ctx context.Context, from, to source.Slot) ([]poll.Span, error) {
	if lister, ok := f.Fetcher.(poll.Lister); ok {
		return lister.Fragments(ctx, from, to)
	}
	return nil, source.ErrRefused
}

// Images implements poll.Fetcher.
func (f watched) Images(ctx context.Context, w poll.Window) iter.Seq2[poll.Image, error] {
	return func(yield func(poll.Image, error) bool) {
		begin := time.Now()
		var away time.Duration
		var last error
		defer func() { f.answered(time.Since(begin)-away, last) }()
		// The stack that a request needs is many times that of a stream between its
		// polls, and would be kept: so a request has one of its own.
		next, stop := iter.Pull2(f.Fetcher.Images(ctx, w))
		defer stop()
		for {
			img, err, more := next()
			if !more {
				return
			}
			last = err
			left := time.Now()
			more = yield(img, err)
			away += time.Since(left)
			if !more {
				return
			}
		}
	}
}
