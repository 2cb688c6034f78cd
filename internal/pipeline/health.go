package pipeline

import (
	"fmt"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/source"
)

const (
	logAgain = time.Minute      // while a failure lasts
	logSoon  = 10 * time.Second // where a stream fails now and then
	// stalledAfter the time for which its feed waits for a slot, a stream whose cursor has
	// not moved is not ready.
	stalledAfter = 20 * time.Second
)

// health is whether a stream is read, and whether its cursor moves.
type health struct {
	outage pacing.Outage // a time in which it cannot be read

	mu      sync.Mutex
	problem string    // why it cannot be read at present
	since   time.Time // when that began
	moved   time.Time // when the cursor last moved
	lost    string    // why a slot last got no tensor

	last source.Stats // at the last report
}

// unreadable notes why the stream cannot be read. It is logged when it begins and once
// a minute; a stream that fails now and then gets a line every ten seconds at most.
func (s *stream) unreadable(err error) {
	h := &s.health
	h.mu.Lock()
	if h.problem == "" {
		h.since = time.Now()
	}
	h.problem = err.Error()
	h.mu.Unlock()
	if h.outage.Failed() {
		s.log.Warn("the stream could not be read, trying again", "err", err)
	}
}

// readable notes that a request was answered.
func (s *stream) readable() {
	h := &s.health
	h.mu.Lock()
	h.problem = ""
	h.mu.Unlock()
	if h.outage.Recovered() {
		s.log.Info("the stream can be read again")
	}
}

// lose notes why a slot got no tensor, for the next report.
func (h *health) lose(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost = err.Error()
}

// problemNow returns why the stream cannot be read and since when, "" where it can;
// and since when its cursor has stood still for too long, zero where it has not.
func (s *stream) problemNow(now time.Time) (problem string, since, stalled time.Time) {
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.problem != "" {
		problem, since = h.problem, h.since
	}
	if now.Sub(h.moved) > max(s.Grace, s.feed.State().Wait)+stalledAfter+s.Grid.Interval() {
		stalled = h.moved
	}
	return problem, since, stalled
}

// logLost logs the slots that got no tensor since the last call, and notes whether the
// cursor has moved.
func (s *stream) logLost(now time.Time) {
	st := s.ledger.Stats()
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if st.Cursor != h.last.Cursor || st.Pending == 0 && !s.feed.State().Unknown {
		h.moved = now
	}
	if ahead := st.Rewound - h.last.Rewound; ahead > 0 {
		s.log.Warn("the stream was ahead of the service's time: a clock was wrong, and the cursor has been put right",
			"ahead", ahead.Round(time.Second/10), "cursor", st.Cursor.String())
	}
	if n := st.Late - h.last.Late; n > 0 {
		s.log.Info("pictures have turned up of slots that had ended without media", "slots", n)
	}
	for _, o := range source.Outcomes() {
		n := st.Ended[o] - h.last.Ended[o]
		if n == 0 || o == source.Published {
			continue
		}
		args := []any{"outcome", o.String(), "slots", n}
		if o == source.Undecodable || o == source.Dropped {
			args = append(args, "err", h.lost)
		}
		s.log.Warn("slots without a tensor", args...)
	}
	h.last = st
}

// A State is how a stream stands at one instant.
type State struct {
	Stream
	// Stats are those of the ledger.
	Stats source.Stats
	// Feed is the state of what the stream is read with.
	Feed source.FeedState
	// Problem is why the stream cannot be read at present and ProblemSince when that
	// began; "" where it can be read.
	Problem      string
	ProblemSince time.Time
	// StalledSince is when the cursor last moved, where that is too long ago; otherwise
	// zero.
	StalledSince time.Time
}

// notReady returns why the stream is not being read, "" where it is.
func (s State) notReady(now time.Time) string {
	switch {
	case s.Problem != "":
		return s.Problem
	case !s.StalledSince.IsZero() && s.Feed.Unknown:
		return "stalled: nothing with the timestamps that the camera's clock should give was found: it is off, or its clock was set"
	case !s.StalledSince.IsZero():
		return fmt.Sprintf("stalled: no slot has ended for %v", now.Sub(s.StalledSince).Round(time.Second))
	}
	return ""
}

func (s *stream) state(now time.Time) State {
	st := State{Stream: s.Stream, Stats: s.ledger.Stats(), Feed: s.feed.State()}
	st.Problem, st.ProblemSince, st.StalledSince = s.problemNow(now)
	return st
}
