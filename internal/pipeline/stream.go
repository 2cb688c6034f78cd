package pipeline

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

const (
	queueLength = 64               // jobs of a stream that wait for their delivery
	checkAgain  = 15 * time.Second // after a check that failed
	// stalledAfter the grace, a stream whose cursor has not moved is not ready.
	stalledAfter = 20 * time.Second
)

// A Stream is one camera and what it is turned into.
type Stream struct {
	Name    string
	Fetcher source.Fetcher
	// Check tells whether the stream can be read; nil takes it as read.
	Check func(context.Context) error
	Grid  source.Grid
	// From is the first slot.
	From source.Slot
	Poll source.Options
	// Outputs are made of every frame, and Subjects are theirs, by index.
	Outputs  []*transform.Output
	Subjects []string
}

// stream is a Stream at work.
type stream struct {
	Stream
	ledger *source.Ledger
	poller *source.Poller
	log    *slog.Logger

	mu      sync.Mutex
	problem string    // why it cannot be read at present
	reason  string    // why a slot was lost last
	last    lastTick  // of the tick only
	moved   time.Time // when the cursor last moved
}

// lastTick is what the tick before saw.
type lastTick struct {
	cursor source.Slot
	ended  map[source.Outcome]uint64
}

func newStream(s Stream, m *metrics.Metrics, log *slog.Logger) *stream {
	ledger := source.NewLedger(s.Grid, s.From)
	s.Poll.Stream = s.Name
	fetch := timed{s.Fetcher, func(d time.Duration) { m.Stage.WithLabelValues("fetch").Observe(d.Seconds()) }}
	return &stream{
		Stream: s, ledger: ledger, poller: source.NewPoller(fetch, ledger, s.Poll),
		log: log.With("stream", s.Name), moved: time.Now(),
		last: lastTick{ended: map[source.Outcome]uint64{}},
	}
}

// trouble notes why the stream cannot be read, and logs it when it is new.
func (s *stream) trouble(err error) {
	s.mu.Lock()
	known := s.problem == err.Error()
	s.problem = err.Error()
	s.mu.Unlock()
	if !known {
		s.log.Warn("the stream cannot be read, trying again", "err", err)
	}
}

// well notes that the stream can be read.
func (s *stream) well() {
	s.mu.Lock()
	had := s.problem
	s.problem = ""
	s.mu.Unlock()
	if had != "" {
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
	switch limit := s.Poll.Grace + stalledAfter + s.Grid.Interval(); {
	case s.problem != "":
		return s.problem
	case now.Sub(s.moved) > limit:
		return fmt.Sprintf("stalled: no slot has ended for %v", now.Sub(s.moved).Round(time.Second))
	}
	return ""
}

// timed is a fetcher that tells how long it took, without the time in which its
// caller worked on what it yielded.
type timed struct {
	source.Fetcher
	took func(time.Duration)
}

// Images implements source.Fetcher.
func (t timed) Images(ctx context.Context, w source.Window) iter.Seq2[source.Image, error] {
	return func(yield func(source.Image, error) bool) {
		begin := time.Now()
		var away time.Duration
		defer func() { t.took(time.Since(begin) - away) }()
		for img, err := range t.Fetcher.Images(ctx, w) {
			left := time.Now()
			more := yield(img, err)
			away += time.Since(left)
			if !more {
				return
			}
		}
	}
}
