package pipeline

import (
	"context"
	"errors"
	"fmt"
	"image"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/publishtest"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
	"github.com/cvfeeder/cvfeeder/transform"
)

// live opens a feed in memory whose pictures name their slots. fail, unless nil, says
// when a request fails.
func live(name string, to source.Slot, fail func() error) source.OpenFeed {
	return func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
		return &sourcetest.Feed{Ledger: l, Stream: name, To: to, Fetched: fetched, Picture: func(s source.Slot) ([]byte, error) {
			if fail != nil {
				if err := fail(); err != nil {
					return nil, err
				}
			}
			return fmt.Append(nil, s), nil
		}}
	}
}

// fails makes the feed of a stream fail when fail says so.
func (s *Stream) fails(fail func() error) { s.Open = live(s.Name, s.To, fail) }

// worker makes tensors that hold the frame's bytes, and takes its time.
type worker struct {
	rig    *rig
	frame  source.Frame
	closed bool
	keep   bool
	kept   *image.Gray
}

func (w *worker) KeepLuma(keep bool) { w.keep = keep }

func (w *worker) KeptLuma() (*image.Gray, image.Point) {
	if w.kept == nil {
		return nil, image.Point{}
	}
	return w.kept, w.kept.Rect.Size().Mul(16)
}

func (w *worker) Decode(f source.Frame, _ *transform.Camera, _ []*transform.Output) error {
	w.frame, w.kept = f, nil
	time.Sleep(w.rig.decodeTime(f.Slot))
	if w.keep && w.rig.luma != nil {
		w.rig.mu.Lock()
		w.rig.looks++
		w.rig.mu.Unlock()
		w.kept, _ = w.rig.luma(f.Slot)
	}
	if w.rig.bad != nil && w.rig.bad(f.Slot) {
		return &transform.DecodeError{Reason: "truncated", Err: errors.New("cut")}
	}
	return nil
}

func (w *worker) Luma(f source.Frame, _ *transform.Camera) (*image.Gray, image.Point, error) {
	if w.rig.luma == nil {
		return nil, image.Point{}, errors.New("no luma")
	}
	m, err := w.rig.luma(f.Slot)
	if err != nil {
		return nil, image.Point{}, err
	}
	return m, m.Rect.Size().Mul(8), nil
}

func (w *worker) Tensor(o *transform.Output) (*transform.Tensor, error) {
	return &transform.Tensor{
		Stream: w.frame.Stream, Slot: w.frame.Slot, Capture: w.frame.Capture, Output: o,
		Shape: []int{1, 1, 1, len(w.frame.Data)}, Data: slices.Clone(w.frame.Data),
	}, nil
}

func (w *worker) Rest() {}

func (w *worker) Close() { w.closed = true }

// measure tells the size that makes a tensor as large as the frame, and no more memory.
func measure(f source.Frame, _ *transform.Camera, _ []*transform.Output) (image.Point, int64) {
	return image.Pt(len(f.Data)/3, 1), 0
}

// rig is a pipeline of feeds, deliveries and cursors in memory.
type rig struct {
	*Pipeline
	initial []Stream
	follow  func(context.Context, Set)
	decode  func(source.Slot) time.Duration
	bad     func(source.Slot) bool
	refuse  func(publish.Message) error
	luma    func(source.Slot) (*image.Gray, error)
	unheard func(subject string) bool
	away    func() error // why nothing can be confirmed

	out publishtest.Memory

	mu       sync.Mutex
	workers  []*worker
	looks    int   // how often the brightness was kept
	inflight int64 // the most that was seen
}

func (r *rig) decodeTime(s source.Slot) time.Duration {
	if r.decode == nil {
		return 0
	}
	return r.decode(s)
}

// Publish implements [publish.Delivery].
func (r *rig) Publish(ctx context.Context, m publish.Message) error {
	if r.refuse != nil {
		if err := r.refuse(m); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.inflight = max(r.inflight, r.turns.used.Load())
	r.mu.Unlock()
	return r.out.Publish(ctx, m)
}

// Gap implements [publish.Delivery].
func (r *rig) Gap(ctx context.Context, g publish.Gap, routes []publish.Route) error {
	return r.out.Gap(ctx, g, routes)
}

// Confirm implements [publish.Delivery].
func (r *rig) Confirm(context.Context) error {
	if r.away == nil {
		return nil
	}
	return r.away()
}

// Watched implements [publish.Delivery].
func (r *rig) Watched(subject string) bool { return r.unheard == nil || !r.unheard(subject) }

// Interest implements [publish.Delivery].
func (r *rig) Interest(ctx context.Context, subject string) (bool, error) {
	return r.Watched(subject), ctx.Err()
}

// gaps returns the gaps of a stream that were announced.
func (r *rig) gaps(t *testing.T, stream string) []publish.Gap {
	t.Helper()
	var gaps []publish.Gap
	for _, m := range r.out.Received(publish.GapSubject(stream)) {
		g, err := publish.ParseGap(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		gaps = append(gaps, g)
	}
	return gaps
}

// build makes a pipeline of n streams with two outputs, from now on for the given
// time.
func (r *rig) build(t *testing.T, n int, length time.Duration, change func(*Options, []Stream)) {
	t.Helper()
	grid, err := source.NewGrid(200 * time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	spec := transform.Spec{DType: transform.Uint8}
	outputs := []*transform.Output{{Name: "a", Spec: spec, Fingerprint: "test"}, {Name: "b", Spec: spec, Fingerprint: "test"}}
	streams := make([]Stream, n)
	from := source.SlotAt(time.Now())
	for i := range streams {
		name := fmt.Sprintf("cam-%d", i+1)
		streams[i] = Stream{
			Name: name, Grid: grid, From: from, Grace: 5 * time.Second,
			Routes: []publish.Route{{Output: outputs[0], Subject: name + ".a"}, {Output: outputs[1], Subject: name + ".b"}},
		}
		if length > 0 {
			streams[i].To = from.Add(length)
		}
		streams[i].fails(nil)
	}
	opts := Options{
		Workers: 3, Delivery: r, Measure: measure, Inflight: 1 << 20, Log: slog.New(slog.DiscardHandler),
		NewWorker: func() Worker {
			r.mu.Lock()
			defer r.mu.Unlock()
			w := &worker{rig: r}
			r.workers = append(r.workers, w)
			return w
		},
	}
	if change != nil {
		change(&opts, streams)
	}
	if r.out.Gaps == publish.NoGaps {
		r.out.Gaps = publish.GapEvents
	}
	r.Pipeline, r.initial = New(opts), streams
}

// run runs the rig's streams.
func (r *rig) run(ctx context.Context) error { return r.Run(ctx, r.initial, r.follow) }

// slots returns the slots of the messages on a subject, as they came.
func (r *rig) slots(t *testing.T, subject string) []source.Slot {
	t.Helper()
	var slots []source.Slot
	for _, m := range r.out.Received(subject) {
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
