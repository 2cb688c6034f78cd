package pipeline

import (
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/sanitize"
	"github.com/cvfeeder/cvfeeder/source"
)

// logAgain is how often a failure is logged again while it lasts.
const logAgain = time.Minute

// health is what is known of how a stream is. What follows from that is decided elsewhere:
// by internal/health.
type health struct {
	mu      sync.Mutex
	problem error  // why it cannot be read at present
	lost    string // why a slot last got no tensor

	last source.Stats // at the last report
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

// logLost logs the slots that got no tensor since the last call.
func (s *stream) logLost() {
	st := s.ledger.Stats()
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if ahead := st.Rewound - h.last.Rewound; ahead > 0 {
		s.log.Warn("the stream was ahead of the service's time: a clock was wrong, and the cursor has been put right",
			"ahead", ahead.Round(time.Second/10), "cursor", st.Cursor.String())
	}
	if n := st.Late - h.last.Late; n > 0 {
		s.log.Info("pictures have turned up of slots that had ended without media", "slots", n)
	}
	for _, o := range source.Outcomes() {
		n := st.Ended[o] - h.last.Ended[o]
		if n == 0 || !o.Lost() {
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
	// Problem is why the stream cannot be read at present, nil where it can.
	Problem error
	// Delivering says that the delivery has something of the stream in hand that it has
	// neither taken nor dropped yet.
	Delivering bool
}

func (s *stream) state() State {
	h := &s.health
	h.mu.Lock()
	problem := h.problem
	h.mu.Unlock()
	return State{Stream: s.Stream, Stats: s.ledger.Stats(), Feed: s.feed.State(), Problem: problem, Delivering: s.delivering.Load()}
}
