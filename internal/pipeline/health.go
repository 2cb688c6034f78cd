package pipeline

import (
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/sanitize"
	"github.com/cvfeeder/cvfeeder/source"
)

const (
	// logAgain is how often a failure is logged again while it lasts.
	logAgain = time.Minute
	// calm is for how long no slot may be lost until losses are over.
	calm = 5 * time.Second
)

// health is what is known of how a stream is. What follows from that is decided elsewhere:
// by internal/health.
type health struct {
	mu      sync.Mutex
	problem error  // why it cannot be read at present
	lost    string // why a slot last got no tensor

	last   source.Stats // at the last report
	losses map[source.Outcome]*loss
}

// A loss is a time in which slots got no tensor, with the same outcome.
type loss struct {
	began, seen, logged time.Time
	slots, untold       uint64 // in all, and since the last line
}

// read notes whether a request could be made for the stream: nil if it was answered.
func (h *health) read(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.problem = err
}

// lose notes why a slot got no tensor, for the next report.
func (h *health) lose(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost = sanitize.Text(err.Error())
}

// logLost logs the slots that got no tensor: a line when that begins, one a minute while it
// goes on, and one when it is over, or the stream has ended.
func (s *stream) logLost(ended bool) {
	st := s.ledger.Stats()
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if ahead := st.Rewound - h.last.Rewound; ahead > 0 {
		s.log.Warn("the stream was ahead of the service's time: a clock was wrong, and the cursor has been corrected",
			"ahead", ahead.Round(time.Second/10), "cursor", st.Cursor.String())
	}
	if n := st.Late - h.last.Late; n > 0 {
		s.log.Info("pictures have arrived for slots that had ended without media", "slots", n)
	}
	now := time.Now()
	for _, o := range source.Outcomes() {
		if n := st.Ended[o] - h.last.Ended[o]; n != 0 && o.Lost() {
			h.note(o, n, now)
		}
		if l := h.losses[o]; l != nil {
			s.logLoss(o, l, now, ended)
		}
	}
	h.last = st
}

// note takes note of slots that got no tensor.
func (h *health) note(o source.Outcome, slots uint64, now time.Time) {
	l := h.losses[o]
	if l == nil {
		if l = (&loss{began: now}); h.losses == nil {
			h.losses = map[source.Outcome]*loss{}
		}
		h.losses[o] = l
	}
	l.seen, l.slots, l.untold = now, l.slots+slots, l.untold+slots
}

// logLoss logs what there is to tell of a loss. One that fits into a line has no other.
func (s *stream) logLoss(o source.Outcome, l *loss, now time.Time, ended bool) {
	args := []any{"outcome", o.String()}
	over := now.Sub(l.seen) >= max(calm, 2*s.Grid.Interval())
	if due := l.logged.IsZero() || ended || now.Sub(l.logged) >= logAgain; due && !over && l.untold > 0 {
		args = append(args, "slots", l.untold)
		if o == source.Undecodable || o == source.Dropped {
			args = append(args, "err", s.health.lost)
		}
		s.log.Warn("slots without a tensor", args...)
		l.logged, l.untold = now, 0
	}
	if !over {
		return
	}
	if l.seen.After(l.began) {
		s.log.Info("no more slots without a tensor", append(args, "slots", l.slots, "lasted", l.seen.Sub(l.began).Round(reportEvery))...)
	}
	delete(s.health.losses, o)
}

// A State is how a stream stands at one instant.
type State struct {
	Stream
	// Stats are those of the ledger.
	Stats source.Stats
	// Feed is the state of what the stream is read with.
	Feed source.FeedState
	// Problem is why the stream cannot be read at present, nil where it can.
	Problem error
	// Delivering says that the delivery has something of the stream in hand that it has
	// neither taken nor dropped yet.
	Delivering bool
	// InHand says that frames have come that are not delivered yet: they wait for a worker, are
	// worked on, or wait for the delivery.
	InHand bool
}

func (s *stream) state() State {
	h := &s.health
	h.mu.Lock()
	problem := h.problem
	h.mu.Unlock()
	return State{Stream: s.Stream, Stats: s.ledger.Stats(), Feed: s.feed.State(), Problem: problem, Delivering: s.delivering.Load(), InHand: s.inHand.Load() > 0}
}
