package observe

import (
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/metrics/status"
	"github.com/cvfeeder/cvfeeder/source"
)

// Histories are an observer that keeps how the last slots of every stream ended, for the
// status page. The zero value is ready to use.
type Histories struct {
	// Now returns the present by the service's clock. Default: time.Now.
	Now func() time.Time

	mu  sync.Mutex
	all map[string]*status.History
}

// Stream implements [pipeline.Observer].
func (h *Histories) Stream(s pipeline.Stream, first source.Slot) pipeline.StreamObserver {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all == nil {
		h.all = map[string]*status.History{}
	}
	history := status.NewHistory(s.Grid, first)
	h.all[s.Name] = history
	now := h.Now
	if now == nil {
		now = time.Now
	}
	return historyOf{history: history, now: now, removed: func() { h.remove(s.Name, history) }}
}

// Of returns the history of a stream, nil where it is not read.
func (h *Histories) Of(stream string) *status.History {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all[stream]
}

// remove forgets a stream's history, unless another stream of its name has taken its
// place.
func (h *Histories) remove(stream string, history *status.History) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all[stream] == history {
		delete(h.all, stream)
	}
}

type historyOf struct {
	pipeline.IgnoreStream
	history *status.History
	now     func() time.Time
	removed func()
}

// Ended implements [pipeline.StreamObserver].
func (h historyOf) Ended(from source.Slot, slots int, o source.Outcome, trail time.Duration) {
	h.history.Add(from, slots, o, h.now().Add(-trail))
}

// Removed implements [pipeline.StreamObserver].
func (h historyOf) Removed() { h.removed() }
