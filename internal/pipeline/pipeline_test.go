package pipeline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// live answers every slot up to now with a picture that names it.
type live struct{ fail func() error }

func (l live) Images(_ context.Context, w source.Window) iter.Seq2[source.Image, error] {
	return func(yield func(source.Image, error) bool) {
		if l.fail != nil {
			if err := l.fail(); err != nil {
				yield(source.Image{}, err)
				return
			}
		}
		for s := w.Start; s <= w.End && !s.Time().After(time.Now()); s = s.Add(w.Interval) {
			if !yield(source.Image{Time: s.Time(), Data: fmt.Append(nil, s)}, nil) {
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
			Poll:     source.Options{Lag: source.Auto, Overlap: source.Auto, Grace: 5 * time.Second},
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

func TestOrderIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Every third frame takes much longer than its neighbours.
		r := &rig{decode: func(s source.Slot) time.Duration { return time.Duration(s/200%3) * 150 * time.Millisecond }}
		r.build(t, 2, 20*time.Second, nil)
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, subject := range []string{"cam-1.a", "cam-1.b", "cam-2.a", "cam-2.b"} {
			slots := r.slots(t, subject)
			if len(slots) != 100 || !slices.IsSorted(slots) {
				t.Errorf("%s: %d slots, sorted: %v", subject, len(slots), slices.IsSorted(slots))
			}
		}
		for _, s := range r.Streams() {
			if s.Ended[source.Published] != 100 || s.Pending != 0 {
				t.Errorf("%+v", s)
			}
		}
		if n := r.InflightBytes(); n != 0 {
			t.Errorf("%d bytes in flight at the end", n)
		}
		for i, w := range r.workers {
			if !w.closed {
				t.Errorf("worker %d was not closed", i)
			}
		}
	})
}

func TestBudgetBoundsWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{decode: func(source.Slot) time.Duration { return 50 * time.Millisecond }}
		// A frame has 12 bytes, and so has each of its two tensors. Their size is not
		// known beforehand, and taken for that of the frame before.
		const job = 3 * 12
		r.build(t, 4, 20*time.Second, func(o *Options, _ []Stream) { o.Inflight = 2*job + 3 })
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r.inflight > 2*job+3 {
			t.Errorf("%d bytes were in flight", r.inflight)
		}
		if got := len(r.slots(t, "cam-4.a")); got != 100 {
			t.Errorf("%d slots", got)
		}
	})
}

// TestSmallestBudget: what is larger than the budget goes alone, however small that is.
func TestSmallestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var under, most atomic.Int32
		r := &rig{decode: func(source.Slot) time.Duration {
			most.Store(max(most.Load(), under.Add(1)))
			time.AfterFunc(10*time.Millisecond, func() { under.Add(-1) })
			return 11 * time.Millisecond
		}}
		r.build(t, 4, 5*time.Second, func(o *Options, _ []Stream) { o.Inflight = 0 })
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := most.Load(); n != 1 {
			t.Errorf("%d frames at once", n)
		}
	})
}

func TestOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := source.SlotAt(time.Now())
		is := func(n int) func(source.Slot) bool {
			return func(s source.Slot) bool { return s == first.Add(time.Duration(n)*200*time.Millisecond) }
		}
		r := &rig{bad: is(10)}
		r.refuse = func(m publish.Message) error {
			if m.Subject == "cam-1.b" && m.Header["Cvf-Time"][0] == first.Add(4*time.Second).String() {
				return &publish.DropError{Reason: publish.DropSlow, Err: errors.New("slow")}
			}
			return nil
		}
		r.build(t, 1, 10*time.Second, nil)
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		st := r.Streams()[0]
		if st.Ended[source.Published] != 48 || st.Ended[source.Undecodable] != 1 || st.Ended[source.Dropped] != 1 {
			t.Errorf("%+v", st)
		}
		want := []publish.Gap{
			{Stream: "cam-1", From: first.Add(2 * time.Second), To: first.Add(2 * time.Second), Slots: 1, Reason: "undecodable"},
			{Stream: "cam-1", From: first.Add(4 * time.Second), To: first.Add(4 * time.Second), Slots: 1, Reason: "dropped"},
		}
		if !slices.Equal(r.gaps, want) {
			t.Errorf("gaps %+v, want %+v", r.gaps, want)
		}
		m := r.opts.Metrics
		if got := testutil.ToFloat64(m.PublishErrors.WithLabelValues("slow")); got != 1 {
			t.Errorf("%v publish errors", got)
		}
		if got := testutil.CollectAndCount(m.Stage); got != 4 {
			t.Errorf("%d stages were timed", got)
		}
	})
}

// TestStreamsShareTheWorkersFairly: one stream catches up with an hour while the
// others are live, and there is time for all but one. These others must not notice.
func TestStreamsShareTheWorkersFairly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{decode: func(source.Slot) time.Duration { return 40 * time.Millisecond }}
		ages := map[string]time.Duration{}
		r.refuse = func(m publish.Message) error {
			at, err := time.Parse(time.RFC3339, m.Header["Cvf-Time"][0])
			r.mu.Lock()
			defer r.mu.Unlock()
			ages[m.Subject] = max(ages[m.Subject], time.Since(at))
			return err
		}
		begin := time.Now()
		r.build(t, 4, time.Minute, func(o *Options, streams []Stream) {
			o.Workers = 1
			streams[0].From = streams[0].From.Add(-time.Hour)
		})
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, subject := range []string{"cam-2.a", "cam-3.a", "cam-4.a"} {
			// A stream has a frame waiting while each of the four others has its turn.
			if age := ages[subject]; age > 2*time.Second {
				t.Errorf("%s: a frame was %v old", subject, age)
			}
			if n := len(r.slots(t, subject)); n != 300 {
				t.Errorf("stream %d: %d frames", i, n)
			}
		}
		caught := len(r.slots(t, "cam-1.a"))
		t.Logf("%v for %d frames of the backlog, the others at most %v old", time.Since(begin), caught, ages)
		if caught != 3600*5+300 {
			t.Errorf("%d frames of the backlog", caught)
		}
	})
}

// TestInlineGaps: gaps come among the tensors, on every subject, and the cursor
// stays before those that could not be told.
func TestInlineGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := source.SlotAt(time.Now())
		number := func(s source.Slot) int { return int(s.Sub(begin) / source.MinInterval) }
		r := &rig{bad: func(s source.Slot) bool { n := number(s); return n >= 10 && n < 13 || n == 40 }}
		cursors := &memory{}
		r.build(t, 1, 10*time.Second, func(o *Options, streams []Stream) {
			o.Inline, o.Cursors = true, cursors
			streams[0].Key = "cam-1"
		})
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, subject := range []string{"cam-1.a", "cam-1.b"} {
			next := begin
			gaps := 0
			for _, m := range r.messages {
				if m.Subject != subject {
					continue
				}
				pos, err := publish.ParsePosition(m.Header)
				if err != nil {
					t.Fatal(err)
				}
				if pos.First != next {
					t.Fatalf("%s: %v came where %v is next", subject, pos.First, next)
				}
				next = pos.Last.Add(source.MinInterval)
				if m.Header["Cvf-Gap"] != nil { // a gap that goes on may come in pieces
					gap, err := publish.ParseInlineGap(m.Header)
					if err != nil || gap.Reason != "undecodable" {
						t.Errorf("%+v, %v", gap, err)
					}
					gaps += gap.Slots
				}
			}
			if gaps != 4 || number(next) != 50 {
				t.Errorf("%s: %d slots in gaps, up to slot %d", subject, gaps, number(next))
			}
		}
		if cursors.at["cam-1"] != begin.Add(10*time.Second) {
			t.Errorf("the cursor is %v", cursors.at)
		}
		if len(r.gaps) != 0 {
			t.Errorf("announced as well: %v", r.gaps)
		}
	})
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

func TestStaleFramesAreNotPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := true
		r := &rig{decode: func(source.Slot) time.Duration {
			if slow {
				slow = false
				return 7 * time.Second
			}
			return 0
		}}
		r.build(t, 1, 20*time.Second, func(o *Options, s []Stream) {
			s[0].Poll.Freshness = 5 * time.Second
			o.Workers = 1
		})
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		st := r.Streams()[0]
		if st.Ended[source.Stale] == 0 || st.Ended[source.Stale]+st.Ended[source.Published] != 100 {
			t.Errorf("%+v", st)
		}
	})
}

func TestFirstSignalDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{decode: func(source.Slot) time.Duration { return 2 * time.Second }}
		r.build(t, 1, 0, nil)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
		st := r.Streams()[0]
		if n := len(r.slots(t, "cam-1.a")); n == 0 || uint64(n) != st.Ended[source.Published] {
			t.Errorf("%d published, the ledger says %+v", n, st)
		}
		if lost := st.Ended[source.Dropped] + st.Ended[source.Undecodable]; lost != 0 {
			t.Errorf("%d slots were lost by the end", lost)
		}
	})
}

func TestDrainHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.build(t, 1, 0, func(o *Options, _ []Stream) {
			o.Publisher = stuck{}
			o.Drain = 3 * time.Second
		})
		ctx, cancel := context.WithCancel(t.Context())
		begin := time.Now()
		time.AfterFunc(5*time.Second, cancel)
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d != 8*time.Second {
			t.Errorf("ended after %v", d)
		}
		if st := r.Streams()[0]; st.Pending != st.Expected || st.Expected == 0 {
			t.Errorf("what was cut off must stay pending: %+v", st)
		}
	})
}

// stuck is a publisher that never gets through.
type stuck struct{}

func (stuck) Publish(ctx context.Context, _ publish.Message) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestFatalPublishErrorEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := errors.New("no such subject")
		r := &rig{refuse: func(publish.Message) error { return bad }}
		r.build(t, 3, 0, nil)
		if err := r.Run(t.Context()); !errors.Is(err, bad) || !strings.Contains(err.Error(), "cam-") {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestStreamsThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		checks := 0
		r.build(t, 3, 0, func(_ *Options, s []Stream) {
			s[0].Check = func(context.Context) error { return fmt.Errorf("%w: stream cam-1", source.ErrNoStream) }
			s[1].Check = func(context.Context) error {
				if checks++; checks < 6 {
					return fmt.Errorf("%w: stream cam-2", source.ErrRefused)
				}
				return nil
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		time.AfterFunc(20*time.Second, func() {
			why := r.NotReady()
			if len(why) != 2 || !strings.Contains(why[0], "cam-1: no such stream") || !strings.Contains(why[1], "cam-2: refused") {
				t.Errorf("not ready: %q", why)
			}
		})
		time.AfterFunc(60*time.Second, func() {
			if why := r.NotReady(); len(why) != 1 {
				t.Errorf("not ready after cam-2 came: %q", why)
			}
			cancel()
		})
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
		st := r.Streams()
		if st[0].Expected < 295 || st[0].Pending != st[0].Expected {
			t.Errorf("the slots of a stream that does not exist are expected and pending: %+v", st[0])
		}
		if st[1].Ended[source.Published] < 290 || st[2].Ended[source.Published] < 290 {
			t.Errorf("the others did not go on: %+v", st[1:])
		}
	})
}

func TestAllRefusedIsFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.build(t, 2, 0, func(_ *Options, s []Stream) {
			for i := range s {
				s[i].Check = func(context.Context) error { return source.ErrRefused }
			}
		})
		if err := r.Run(t.Context()); !errors.Is(err, source.ErrRefused) {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestStalledStreamIsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.build(t, 2, 0, func(_ *Options, s []Stream) { s[1].Fetcher = hanging{} })
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Second, func() {
			if why := r.NotReady(); len(why) != 0 {
				t.Errorf("within the grace: %q", why)
			}
		})
		time.AfterFunc(time.Minute, func() {
			if why := r.NotReady(); len(why) != 1 || !strings.Contains(why[0], "cam-2: stalled") {
				t.Errorf("stalled: %q", why)
			}
			cancel()
		})
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

// hanging is a service that never answers.
type hanging struct{}

func (hanging) Images(ctx context.Context, _ source.Window) iter.Seq2[source.Image, error] {
	return func(yield func(source.Image, error) bool) {
		<-ctx.Done()
		yield(source.Image{}, ctx.Err())
	}
}

func TestTroubleIsReportedAndCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		r := &rig{}
		r.build(t, 1, 0, func(_ *Options, s []Stream) {
			s[0].Fetcher = live{fail: func() error {
				if down.Load() {
					return errors.New("connection reset")
				}
				return nil
			}}
		})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, func() {
			if why := r.NotReady(); len(why) != 1 || !strings.Contains(why[0], "connection reset") {
				t.Errorf("not ready: %q", why)
			}
			down.Store(false)
		})
		time.AfterFunc(60*time.Second, func() {
			if why := r.NotReady(); len(why) != 0 {
				t.Errorf("still not ready: %q", why)
			}
			cancel()
		})
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if st := r.Streams()[0]; st.Ended[source.Published] < 290 {
			t.Errorf("what was missed meanwhile was not caught up: %+v", st)
		}
	})
}
