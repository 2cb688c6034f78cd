package bursts

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
)

// Once is a delivery that publishes each slot once on each subject, whoever brings it: the
// stream itself, or a burst. Whoever comes second gets [publish.ErrRepeated]. It says of a
// message that comes after newer ones because of a burst that it is late.
//
// It remembers what was published while it has been there: of a subject with many gaps, the
// last maxRuns runs of slots.
type Once struct {
	publish.Delivery

	mu       sync.Mutex
	subjects map[string]*subject
}

// maxRuns is how many runs of slots a subject's record has at most.
const maxRuns = 1024

// A subject is what has been published on one.
type subject struct {
	turn chan struct{} // holds a value while somebody publishes, who has the rest
	runs []slotRun     // in the order in which they were begun
	// newest is the newest slot that was published, and burst the newest that a burst has.
	newest, burst source.Slot
}

// A slotRun is slots that are step apart.
type slotRun struct{ first, last, step source.Slot }

func (r slotRun) has(s source.Slot) bool {
	return s >= r.first && s <= r.last && (s == r.first || r.step > 0 && (s-r.first)%r.step == 0)
}

// NewOnce returns a delivery around another one.
func NewOnce(d publish.Delivery) *Once {
	return &Once{Delivery: d, subjects: map[string]*subject{}}
}

// Forget drops what is known of subjects.
func (o *Once) Forget(subjects ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range subjects {
		delete(o.subjects, s)
	}
}

func (o *Once) of(name string) *subject {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.subjects[name]
	if s == nil {
		s = &subject{turn: make(chan struct{}, 1)}
		o.subjects[name] = s
	}
	return s
}

// Publish implements [publish.Delivery].
func (o *Once) Publish(ctx context.Context, m publish.Message) error {
	slot, ok := slotOf(m)
	if !ok {
		return o.Delivery.Publish(ctx, m)
	}
	s := o.of(m.Subject)
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	if s.has(slot) {
		s.goOn(slot)
		return publish.ErrRepeated
	}
	fromBurst := len(m.Header[publish.HeaderBurst]) > 0
	if slot < s.burst || fromBurst && slot < s.newest {
		m.Header = maps.Clone(m.Header)
		m.Header[publish.HeaderLate] = []string{"true"}
	}
	err := o.Delivery.Publish(ctx, m)
	if err == nil {
		s.add(slot)
		if fromBurst {
			s.burst = max(s.burst, slot)
		}
		s.newest = max(s.newest, slot)
	}
	return err
}

// slotOf returns the slot of a whole tensor's message.
func slotOf(m publish.Message) (source.Slot, bool) {
	text := m.Header[publish.HeaderTime]
	if len(text) != 1 || m.Kind() != publish.KindTensor {
		return 0, false
	}
	slot, err := source.ParseSlot(text[0])
	return slot, err == nil
}

func (s *subject) has(slot source.Slot) bool {
	for _, r := range slices.Backward(s.runs) {
		if r.has(slot) {
			return true
		}
	}
	return false
}

// add takes note of a slot. Slots that follow each other evenly are one run, also where two who
// publish take turns.
func (s *subject) add(slot source.Slot) {
	if s.goOn(slot) {
		return
	}
	if n := len(s.runs); n > 0 && s.runs[n-1].step == 0 && slot > s.runs[n-1].last {
		s.runs[n-1].step, s.runs[n-1].last = slot-s.runs[n-1].last, slot
		return
	}
	if len(s.runs) == maxRuns {
		oldest := 0
		for i, r := range s.runs {
			if r.last < s.runs[oldest].last {
				oldest = i
			}
		}
		s.runs = slices.Delete(s.runs, oldest, oldest+1)
	}
	s.runs = append(s.runs, slotRun{first: slot, last: slot})
}

// goOn makes the last run one longer that goes on with a slot, and tells whether there is one.
func (s *subject) goOn(slot source.Slot) bool {
	for i := len(s.runs) - 1; i >= 0; i-- {
		if r := &s.runs[i]; r.step > 0 && slot == r.last+r.step {
			r.last = slot
			return true
		}
	}
	return false
}
