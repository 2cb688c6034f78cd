package pipeline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/transform"
)

// live answers every slot up to now with a picture that names it.
type live struct{ fail func() error }

func (l live) Images(_ context.Context, w poll.Window) iter.Seq2[poll.Image, error] {
	return func(yield func(poll.Image, error) bool) {
		if l.fail != nil {
			if err := l.fail(); err != nil {
				yield(poll.Image{}, err)
				return
			}
		}
		for s := w.Start; s <= w.End && !s.Time().After(time.Now()); s = s.Add(w.Interval) {
			if !yield(poll.Image{Time: s.Time(), Data: fmt.Append(nil, s)}, nil) {
				return
			}
		}
	}
}

// worker makes tensors that hold the frame's bytes, and takes its time.
type worker struct {
	rig    *rig
	frame  source.Frame
	closed bool
}

func (w *worker) Decode(f source.Frame, _ []*transform.Output) error {
	w.frame = f
	time.Sleep(w.rig.decodeTime(f.Slot))
	if w.rig.bad != nil && w.rig.bad(f.Slot) {
		return &transform.DecodeError{Reason: "truncated", Err: errors.New("cut")}
	}
	return nil
}

func (w *worker) Tensor(o *transform.Output) (*transform.Tensor, error) {
	return &transform.Tensor{
		Stream: w.frame.Stream, Slot: w.frame.Slot, Capture: w.frame.Capture, Output: o,
		Shape: []int{1, 1, 1, len(w.frame.Data)}, Data: slices.Clone(w.frame.Data),
	}, nil
}

func (w *worker) Close() { w.closed = true }

// rig is a pipeline whose broker is a list.
type rig struct {
	*Pipeline
	decode func(source.Slot) time.Duration
	bad    func(source.Slot) bool
	refuse func(publish.Message) error

	mu       sync.Mutex
	workers  []*worker
	messages []publish.Message
	gaps     []publish.Gap
	inflight int64 // the most that was seen
}

func (r *rig) decodeTime(s source.Slot) time.Duration {
	if r.decode == nil {
		return 0
	}
	return r.decode(s)
}

func (r *rig) Publish(ctx context.Context, m publish.Message) error {
	if r.refuse != nil {
		if err := r.refuse(m); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m.Data = slices.Clone(m.Data)
	r.messages = append(r.messages, m)
	r.inflight = max(r.inflight, r.Pipeline.inflight.Load())
	return ctx.Err()
}

func (r *rig) gap(_ context.Context, g publish.Gap) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gaps = append(r.gaps, g)
	return nil
}

// build makes a pipeline of n streams with two outputs, from now on for the given
// time.
func (r *rig) build(t *testing.T, n int, length time.Duration, change func(*Options, []Stream)) {
	t.Helper()
	grid, err := source.NewGrid(200 * time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	outputs := []*transform.Output{{Name: "a", Fingerprint: "test"}, {Name: "b", Fingerprint: "test"}}
	streams := make([]Stream, n)
	from := source.SlotAt(time.Now())
	for i := range streams {
		name := fmt.Sprintf("cam-%d", i+1)
		streams[i] = Stream{
			Name: name, Fetcher: live{}, Grid: grid, From: from, Outputs: outputs,
			Subjects: []string{name + ".a", name + ".b"},
			Poll:     poll.Options{Lag: poll.Auto, Overlap: poll.Auto, Grace: 5 * time.Second},
		}
		if length > 0 {
			streams[i].Poll.To = from.Add(length)
		}
	}
	opts := Options{
		Workers: 3, Publisher: r, Gaps: r.gap, Inflight: 1 << 20, Log: slog.New(slog.DiscardHandler),
		NewWorker: func() Worker {
			r.mu.Lock()
			defer r.mu.Unlock()
			w := &worker{rig: r}
			r.workers = append(r.workers, w)
			return w
		},
		Metrics: metrics.New(metrics.Build{}, metrics.Sources{}),
	}
	if change != nil {
		change(&opts, streams)
	}
	r.Pipeline = New(opts, streams)
}

// slots returns the slots of the messages on a subject, as they came.
func (r *rig) slots(t *testing.T, subject string) []source.Slot {
	t.Helper()
	var slots []source.Slot
	for _, m := range r.messages {
		if m.Subject != subject {
			continue
		}
		at, err := time.Parse(time.RFC3339, m.Header["Cvf-Time"][0])
		if err != nil {
			t.Fatal(err)
		}
		s := source.SlotAt(at)
		if string(m.Data) != fmt.Sprint(s) {
			t.Errorf("the tensor of %v holds the frame of %s", s, m.Data)
		}
		slots = append(slots, s)
	}
	return slots
}

// memory keeps cursors for a test.
type memory struct{ at map[string]source.Slot }

func (m *memory) Load(key string) (source.Slot, bool) { s, ok := m.at[key]; return s, ok }
func (m *memory) Set(key string, s source.Slot) {
	if m.at == nil {
		m.at = map[string]source.Slot{}
	}
	m.at[key] = s
}
func (m *memory) Flush() error { return nil }
