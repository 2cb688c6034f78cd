package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

const yardWait = 300 * time.Millisecond

// yard is a rig of three streams, whose first output is rows of batches, and whose second one is
// tensors.
type yard struct {
	rig
	mu    sync.Mutex
	came  map[source.Slot]time.Time // when the first row of a slot came to the workers' end
	sent  map[source.Slot]time.Duration
	whole int
	some  int
	late  int
}

// slower makes the workers of the rig take longer for some streams.
type slower struct {
	*worker
	y    *yard
	slow func(stream string, s source.Slot) time.Duration
}

func (w *slower) Decode(f source.Frame, c *transform.Camera, outs []*transform.Output) error {
	if err := w.worker.Decode(f, c, outs); err != nil {
		return err
	}
	if w.slow != nil {
		time.Sleep(w.slow(f.Stream, f.Slot))
	}
	return nil
}

// Tensor implements [Worker] with tensors whose size is always the same.
func (w *slower) Tensor(o *transform.Output) (*transform.Tensor, error) {
	t, err := w.worker.Tensor(o)
	if o.Name != "a" {
		return t, err
	}
	w.y.mu.Lock()
	defer w.y.mu.Unlock()
	if _, some := w.y.came[t.Slot]; !some {
		w.y.came[t.Slot] = time.Now()
	}
	return t, err
}

// Stream implements [Observer].
func (y *yard) Stream(Stream, source.Slot) StreamObserver { return yardStream{y: y} }

type yardStream struct {
	IgnoreStream
	y *yard
}

func (s yardStream) Frame(source.Frame, bool) FrameObserver { return yardFrame{y: s.y} }

type yardFrame struct {
	IgnoreFrame
	y *yard
}

// Batched implements [BatchObserver].
func (f yardFrame) Batched(_ string, _ publish.Message, whole bool, _ time.Duration, err error) {
	f.y.mu.Lock()
	defer f.y.mu.Unlock()
	switch {
	case err != nil:
	case whole:
		f.y.whole++
	default:
		f.y.some++
	}
}

// TooLate implements [BatchObserver].
func (f yardFrame) TooLate(string) {
	f.y.mu.Lock()
	defer f.y.mu.Unlock()
	f.y.late++
}

func newYard(t *testing.T, length time.Duration, slow func(stream string, s source.Slot) time.Duration, change func([]Stream)) *yard {
	t.Helper()
	y := &yard{came: map[source.Slot]time.Time{}, sent: map[source.Slot]time.Duration{}}
	of := Batch{Batch: transform.Batch{Name: "yard", Streams: []string{"cam-3", "cam-1", "cam-2"}, Wait: yardWait}}
	y.refuse = func(m publish.Message) error {
		if m.Subject == "yard.a" {
			at := slotOf(t, m)
			y.mu.Lock()
			y.sent[at] = time.Since(y.came[at])
			y.mu.Unlock()
		}
		return nil
	}
	y.build(t, 3, length, func(o *Options, streams []Stream) {
		made := o.NewWorker
		o.Workers, o.Observers = 9, []Observer{y}
		o.NewWorker = func() Worker { return &slower{made().(*worker), y, slow} }
		for i := range streams {
			streams[i].Routes[0].Subject = "yard.a"
			of.Output = streams[i].Routes[0].Output
			streams[i].Batches = []*Batch{&of, nil}
		}
		if change != nil {
			change(streams)
		}
	})
	return y
}

func slotOf(t *testing.T, m publish.Message) source.Slot {
	t.Helper()
	s, err := source.ParseSlot(m.Header[publish.HeaderTime][0])
	if err != nil {
		t.Error(err)
	}
	return s
}

// check checks what holds of all batches, and returns the rows of each: order, wait, contents,
// ledgers and budget.
func (y *yard) check(t *testing.T) (rows []string) {
	t.Helper()
	last := source.Slot(0)
	for _, m := range y.out.Received("yard.a") {
		at := slotOf(t, m)
		if at <= last {
			t.Errorf("the batch of %v comes after that of %v", at, last)
		}
		last = at
		if y.sent[at] > yardWait {
			t.Errorf("the batch of %v was published %v after its first row", at, y.sent[at])
		}
		streams := m.Header[publish.HeaderBatch][0]
		rows = append(rows, streams)
		want := ""
		for _, name := range strings.Split(streams, ",") {
			if strings.HasPrefix(name, "!") {
				want += strings.Repeat("\x00", len(fmt.Sprint(at)))
			} else {
				want += fmt.Sprint(at)
			}
		}
		if string(m.Data) != want {
			t.Errorf("the batch of %v holds %q", at, m.Data)
		}
	}
	if y.whole+y.some != len(rows) {
		t.Errorf("%d whole and %d other batches are counted of %d", y.whole, y.some, len(rows))
	}
	for _, s := range y.Streams() {
		sum := s.Stats.Pending
		for _, n := range s.Stats.Ended {
			sum += n
		}
		if sum != s.Stats.Expected {
			t.Errorf("%s: %+v", s.Name, s.Stats)
		}
	}
	if n := y.turns.kept.Load(); n != 0 {
		t.Errorf("%d bytes are still kept", n)
	}
	if n := y.turns.used.Load(); n != 0 {
		t.Errorf("%d bytes are still in use", n)
	}
	if len(y.batches) != 0 {
		t.Error("batches are left")
	}
	return rows
}

func (y *yard) ended(stream int, o source.Outcome) uint64 { return y.Streams()[stream].Stats.Ended[o] }

func TestBatchOfStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(stream string, _ source.Slot) time.Duration {
			if stream == "cam-2" {
				return yardWait - time.Millisecond
			}
			return 0
		}
		y := newYard(t, 10*time.Second, slow, nil)
		if err := y.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		rows := y.check(t)
		if len(rows) != 50 || y.whole != 50 || slices.ContainsFunc(rows, func(s string) bool { return s != "cam-3,cam-1,cam-2" }) {
			t.Errorf("%d batches: %v", len(rows), rows)
		}
		for i := range 3 {
			if n := y.ended(i, source.Published); n != 50 {
				t.Errorf("stream %d: %d slots are published", i, n)
			}
			if n := len(y.slots(t, fmt.Sprintf("cam-%d.b", i+1))); n != 50 {
				t.Errorf("stream %d: %d tensors of the other output", i, n)
			}
		}
	})
}

// TestIncompleteBatches: one stream is slow at times, one has no pictures for a while, and one
// ends early.
func TestIncompleteBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := source.SlotAt(time.Now())
		number := func(s source.Slot) int { return int(s.Sub(begin) / (200 * time.Millisecond)) }
		slow := func(stream string, s source.Slot) time.Duration {
			if stream == "cam-1" && number(s)%10 == 9 {
				return yardWait + 50*time.Millisecond
			}
			return 0
		}
		y := newYard(t, 20*time.Second, slow, func(streams []Stream) {
			streams[1].To = streams[1].From.Add(10 * time.Second)
			streams[1].fails(nil)
		})
		if err := y.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		rows := y.check(t)
		count := map[string]int{}
		for _, r := range rows {
			count[r]++
		}
		if len(rows) != 100 || count["cam-3,cam-1,cam-2"] == 0 || count["cam-3,cam-1,!cam-2"] == 0 || count["cam-3,!cam-1,cam-2"] == 0 {
			t.Errorf("%v", count)
		}
		missing := count["cam-3,!cam-1,cam-2"] + count["cam-3,!cam-1,!cam-2"]
		if n := y.ended(0, source.Dropped); int(n) != missing || y.late != missing {
			t.Errorf("%d slots are dropped, %d rows late, %d missing", n, y.late, missing)
		}
		if n := y.ended(2, source.Published); n != 100 {
			t.Errorf("%d slots are published", n)
		}
	})
}

// TestUndecodableRow: a batch does not wait for a frame that is known to make no row.
func TestUndecodableRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 4*time.Second, nil, nil)
		y.bad = func(source.Slot) bool { return true }
		if err := y.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if rows := y.check(t); len(rows) != 0 || y.ended(0, source.Undecodable) != 20 {
			t.Errorf("%v", rows)
		}
	})
}

// TestUnheardBatch: nothing is made for a batch that nobody listens to.
func TestUnheardBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 4*time.Second, nil, func(streams []Stream) {
			for i := range streams {
				streams[i].Routes, streams[i].Batches = streams[i].Routes[:1], streams[i].Batches[:1]
			}
		})
		y.unheard = func(subject string) bool { return subject == "yard.a" }
		if err := y.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if rows := y.check(t); len(rows) != 0 || y.ended(0, source.Unwatched) != 20 || len(y.came) != 0 {
			t.Errorf("%v, %v", rows, y.Streams()[0].Stats.Ended)
		}
	})
}

// TestBatchThatIsNotDelivered: how the batch ends is how the slots of its rows end.
func TestBatchThatIsNotDelivered(t *testing.T) {
	for name, of := range map[string]struct {
		err  error
		want source.Outcome
	}{
		"dropped":   {&publish.DropError{Reason: publish.DropSlow, Err: errors.New("slow")}, source.Dropped},
		"unwatched": {publish.ErrUnwatched, source.Unwatched},
		"repeated":  {publish.ErrRepeated, source.Skipped},
	} {
		synctest.Test(t, func(t *testing.T) {
			y := newYard(t, 4*time.Second, nil, func(streams []Stream) {
				for i := range streams {
					streams[i].Routes, streams[i].Batches = streams[i].Routes[:1], streams[i].Batches[:1]
				}
			})
			y.refuse = func(publish.Message) error { return of.err }
			if err := y.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			y.check(t)
			for i := range 3 {
				if n := y.ended(i, of.want); n != 20 {
					t.Errorf("%s: %v", name, y.Streams()[i].Stats.Ended)
				}
			}
		})
	}
}

// TestFatalBatch: what makes publishing pointless ends the run, and leaves the slots pending.
func TestFatalBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 4*time.Second, nil, nil)
		fatal := errors.New("bad subject")
		y.refuse = func(m publish.Message) error {
			if m.Subject == "yard.a" {
				return fatal
			}
			return nil
		}
		if err := y.run(t.Context()); !errors.Is(err, fatal) {
			t.Errorf("%v", err)
		}
		y.check(t)
	})
}

// TestEndOfABatch: at the end of the run, all that has come is published or left pending, though
// one stream is stuck.
func TestEndOfABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(stream string, _ source.Slot) time.Duration {
			if stream == "cam-2" {
				return time.Hour
			}
			return 0
		}
		y := newYard(t, time.Minute, slow, nil)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second+50*time.Millisecond, cancel)
		if err := y.run(ctx); err != nil {
			t.Fatal(err)
		}
		rows := y.check(t)
		if len(rows) == 0 {
			t.Error("no batches")
		}
		for _, r := range rows {
			if !strings.HasSuffix(r, ",!cam-2") {
				t.Errorf("%s", r)
			}
		}
	})
}

// TestStreamOfABatchReturns: the batches go on without a stream that is removed, and wait for it
// again once it is back.
func TestStreamOfABatchReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 20*time.Second, nil, nil)
		y.follow = func(ctx context.Context, set Set) {
			time.Sleep(5 * time.Second)
			set.Remove(ctx, "cam-1")
			time.Sleep(5 * time.Second)
			back := y.initial[0]
			back.From = source.SlotAt(time.Now())
			set.Add(back)
		}
		if err := y.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		rows := y.check(t)
		if n := len(rows); n != 100 {
			t.Errorf("%d batches", n)
		}
		first, last := slices.Index(rows, "cam-3,!cam-1,cam-2"), len(rows)-1
		if first < 20 || first > 30 || rows[0] != "cam-3,cam-1,cam-2" || rows[last] != rows[0] {
			t.Errorf("%v", rows)
		}
	})
}

// TestNothingOfABatchIsLeft: when the only stream is removed in a hurry, its row is not kept.
func TestNothingOfABatchIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 20*time.Second, nil, nil)
		y.initial = y.initial[:1]
		y.follow = func(ctx context.Context, set Set) {
			time.Sleep(5*time.Second + 50*time.Millisecond)
			hurry, cancel := context.WithCancel(ctx)
			cancel()
			begin := time.Now()
			set.Remove(hurry, "cam-1")
			if took := time.Since(begin); took > 0 {
				t.Errorf("it took %v", took)
			}
		}
		if err := y.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if y.check(t); y.turns.kept.Load() != 0 {
			t.Error("rows are kept")
		}
	})
}

// TestBacklogOfABatch: streams that catch up, of which one has nothing, keep no more rows than
// come within the wait of a batch.
func TestBacklogOfABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 10*time.Second, nil, func(streams []Stream) {
			for i := range streams {
				streams[i].From = streams[i].From.Add(-time.Minute)
				streams[i].Routes, streams[i].Batches = streams[i].Routes[:1], streams[i].Batches[:1]
			}
		})
		y.initial = y.initial[:2]
		most := int64(0)
		y.refuse = func(publish.Message) error {
			most = max(most, y.turns.kept.Load())
			return nil
		}
		begin := time.Now()
		if err := y.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		row := int64(len(y.initial[0].From.String()))
		if n := int64(yardWait/(200*time.Millisecond) + 2); most > 2*n*row+3*row {
			t.Errorf("%d bytes of rows of %d bytes were kept", most, row)
		}
		if n := len(y.out.Received("yard.a")); n != 350 {
			t.Errorf("%d batches", n)
		}
		if took := time.Since(begin); took > 40*time.Second {
			t.Errorf("a backlog of a minute took %v", took)
		}
		if n := y.turns.kept.Load(); n != 0 {
			t.Errorf("%d bytes are still kept", n)
		}
	})
}

// TestLookingAtARow: who looks at an output with batches sees the frames of a stream.
func TestLookingAtARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 20*time.Second, nil, nil)
		y.while(t, func(ctx context.Context) {
			for range 10 {
				v, err := y.View(ctx, "cam-1", "a", 0)
				if err != nil || v.Tensor == nil || v.Tensor.Stream != "cam-1" || string(v.Tensor.Data) != v.Frame.Slot.String() {
					t.Fatalf("%+v, %v", v, err)
				}
			}
		})
		for _, r := range y.check(t) {
			if strings.Contains(r, "!") && y.some > 1 { // the last one may be cut short
				t.Errorf("%s", r)
			}
		}
	})
}
