package replay

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

var errConflict, errUnknown = errors.New("conflict"), errors.New("unknown")

// memory is a [Store].
type memory struct {
	mu      sync.Mutex
	records map[string][]byte
	last    map[string]uint64
	writes  int
}

func newMemory() *memory { return &memory{records: map[string][]byte{}, last: map[string]uint64{}} }

func (m *memory) Create(_ context.Context, id string, record []byte) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last[id] != 0 {
		return 0, errConflict
	}
	m.records[id], m.last[id] = record, 1
	return 1, nil
}

func (m *memory) Get(_ context.Context, id string) ([]byte, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last[id] == 0 {
		return nil, 0, errUnknown
	}
	return m.records[id], m.last[id], nil
}

func (m *memory) Update(_ context.Context, id string, record []byte, revision uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last[id] != revision {
		return 0, errConflict
	}
	m.writes++
	m.records[id] = record
	m.last[id]++
	return m.last[id], nil
}

func (m *memory) IDs(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.records)), nil
}

func (m *memory) Conflict(err error) bool { return errors.Is(err, errConflict) }

// A walk is an [Outing] that ends a slot every 100 ms, and saves its cursor every second.
type walk struct {
	name    string
	ledger  *source.Ledger
	to      source.Slot
	cursors source.Cursors
	fail    error // after ten slots, if set
	seen    func(string, source.Slot)
}

func (w *walk) Stats() source.Stats { return w.ledger.Stats() }

func (w *walk) Run(ctx context.Context) error {
	n := 0
	for s, some := w.ledger.Wanted(0); some; s, some = w.ledger.Wanted(0) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		w.seen(w.name, s)
		w.ledger.Resolve(s, source.Published)
		if n++; n%10 == 0 {
			w.cursors.Set(w.name, w.ledger.Stats().Cursor)
			if err := w.cursors.Flush(ctx, w.name); err != nil {
				return err
			}
			if w.fail != nil {
				return w.fail
			}
		}
	}
	w.cursors.Set(w.name, w.ledger.Stats().Cursor)
	return w.cursors.Flush(ctx, w.name)
}

// A bench runs jobs of walks.
type bench struct {
	*testing.T
	store *memory
	mu    sync.Mutex
	seen  map[string][]source.Slot
	ends  map[string]int
	fail  error
}

func newBench(t *testing.T) *bench {
	return &bench{T: t, store: newMemory(), seen: map[string][]source.Slot{}, ends: map[string]int{}}
}

func (b *bench) runner(owner string) *Runner {
	return &Runner{Store: b.store, Owner: owner, Log: slog.New(slog.DiscardHandler), Open: func(j *Job, p Part, c source.Cursors) (Outing, error) {
		grid, err := source.NewGrid(p.Interval)
		if err != nil {
			return nil, err
		}
		from := source.SlotAt(j.From)
		if cursor, some := c.Load(p.Stream); some {
			from = cursor
		}
		l := source.NewLedger(grid, from)
		l.Extend(source.SlotAt(j.To))
		return &walk{name: p.Stream, ledger: l, to: source.SlotAt(j.To), cursors: c, fail: b.fail, seen: func(name string, s source.Slot) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.seen[name] = append(b.seen[name], s)
		}}, nil
	}, End: func(_ context.Context, _ *Job, p Part) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.ends[p.Stream]++
		return nil
	}}
}

// job makes a job of two streams with a hundred slots each.
func (b *bench) job() *Job {
	b.Helper()
	to := time.Now().Add(-time.Hour).Truncate(time.Second)
	j := &Job{ID: "j1", Status: Paused, Created: time.Now(), From: to.Add(-100 * time.Second), To: to, Quota: 0.5, By: "command", Streams: []Part{
		{Stream: "cam-1", Interval: time.Second}, {Stream: "cam-2", Interval: time.Second},
	}}
	if err := j.Check(time.Now()); err != nil {
		b.Fatal(err)
	}
	if err := Create(b.Context(), b.store, j); err != nil {
		b.Fatal(err)
	}
	return j
}

func (b *bench) get() *Job {
	b.Helper()
	j, err := Get(context.Background(), b.store, "j1")
	if err != nil {
		b.Fatal(err)
	}
	return j
}

// done checks that the job is done, and that no slot was left out.
func (b *bench) done() {
	b.Helper()
	j := b.get()
	if p := j.Progress(); j.Status != Done || j.Owner != "" || p.Slots != 200 || p.Ended != 200 || p.Published != 200 {
		b.Errorf("status %s, owner %q, %+v", j.Status, j.Owner, p)
	}
	for name, slots := range b.seen {
		if distinct := slices.Compact(slices.Sorted(slices.Values(slots))); len(distinct) != 100 || b.ends[name] != 1 {
			b.Errorf("%s: %d slots, %d ends", name, len(distinct), b.ends[name])
		}
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.job()
		shown := 0
		if err := b.runner("a").Run(t.Context(), "j1", func(*Job) { shown++ }); err != nil {
			t.Fatal(err)
		}
		b.done()
		if shown < 9 {
			t.Errorf("it was shown %d times in ten seconds", shown)
		}
		if err := b.runner("a").Run(t.Context(), "j1", nil); !errors.Is(err, ErrOver) {
			t.Errorf("a job that is done: %v", err)
		}
	})
}

// TestResume: a job that was stopped, or has failed, goes on where it was.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.job()
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		if err := b.runner("a").Run(ctx, "j1", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it was stopped: %v", err)
		}
		cancel()
		if j := b.get(); j.Status != Paused || j.Owner != "" || j.Streams[0].Cursor == 0 {
			t.Errorf("after it was stopped: %+v", j)
		}
		b.fail = errors.New("refused")
		if err := b.runner("b").Run(t.Context(), "j1", nil); err == nil || !strings.Contains(err.Error(), "stream cam-") {
			t.Errorf("it should have failed: %v", err)
		}
		if j := b.get(); j.Status != Failed || !strings.Contains(j.Error, "refused") {
			t.Errorf("after it failed: %+v", j)
		}
		b.fail = nil
		if err := b.runner("c").Run(t.Context(), "j1", nil); err != nil {
			t.Fatal(err)
		}
		b.done()
		for name, slots := range b.seen {
			if len(slots) > 130 {
				t.Errorf("%s: %d slots were read for a hundred", name, len(slots))
			}
		}
	})
}

// TestOneAtATime: a job is run by one process. Another takes it over once the first has stopped
// to write its record, and the first then stops, should it come back.
func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		j := b.job()
		ctx, kill := context.WithCancel(t.Context())
		r := b.runner("a")
		h, err := r.take(ctx, "j1") // which dies at once
		if err != nil {
			t.Fatal(err)
		}
		kill()
		begin := time.Now()
		if err := b.runner("b").Run(t.Context(), "j1", nil); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begin) - 10*time.Second; waited < abandoned || waited > abandoned+2*time.Second {
			t.Errorf("it was taken over after %v", waited)
		}
		b.done()
		if err := h.write(t.Context(), func(*Job) {}); !errors.Is(err, ErrTaken) {
			t.Errorf("the first one came back: %v", err)
		}

		// While the first one runs, the other waits.
		b = newBench(t)
		j = b.job()
		var first sync.WaitGroup
		first.Go(func() {
			if err := b.runner("a").Run(t.Context(), j.ID, nil); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if err := b.runner("b").Run(t.Context(), j.ID, nil); !errors.Is(err, ErrOver) {
			t.Errorf("the second: %v", err)
		}
		first.Wait()
		b.done()
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		j := b.job()
		var running sync.WaitGroup
		running.Go(func() {
			if err := b.runner("a").Run(t.Context(), j.ID, nil); !errors.Is(err, ErrCancelled) {
				t.Errorf("the error is %v", err)
			}
		})
		time.Sleep(2500 * time.Millisecond)
		if _, err := Cancel(t.Context(), b.store, j.ID); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		running.Wait()
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("it went on for %v", took)
		}
		if j := b.get(); j.Status != Cancelled || b.ends["cam-1"] > 0 {
			t.Errorf("%+v, %v", j, b.ends)
		}
		if err := b.runner("b").Run(t.Context(), j.ID, nil); !errors.Is(err, ErrOver) {
			t.Errorf("a cancelled job: %v", err)
		}
	})
}

func TestCheck(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	good := func() *Job {
		return &Job{ID: "j1", From: now.Add(-time.Hour), To: now, Quota: 1, Streams: []Part{{Stream: "a", Interval: time.Second}}}
	}
	if err := good().Check(now); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Job){
		"no streams":    func(j *Job) { j.Streams = nil },
		"not before":    func(j *Job) { j.To = j.From },
		"in the future": func(j *Job) { j.To = now.Add(time.Second) },
		"quota":         func(j *Job) { j.Quota = 1.5 },
		"the id":        func(j *Job) { j.ID = "a.b" },
		"too short":     func(j *Job) { j.Streams[0].Interval = time.Millisecond },
		"no slot": func(j *Job) {
			j.Streams[0].Interval, j.From, j.To = time.Minute, now.Add(10*time.Second-time.Minute), now.Add(-10*time.Second)
		},
		"out of range": func(j *Job) { j.From = now.AddDate(-100, 0, 0) },
	} {
		j := good()
		change(j)
		if err := j.Check(now); !errors.Is(err, ErrBadJob) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestEstimate: what a job takes follows from its slots, and its time from the quota.
func TestEstimate(t *testing.T) {
	to := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	j := &Job{From: to.Add(-24 * time.Hour), To: to, Quota: 0.5, Streams: make([]Part, 16)}
	for i := range j.Streams {
		j.Streams[i].Interval = time.Second
	}
	j.Plan(Prices{PerMillionImages: 10, Currency: "USD", PerSecond: 500, Bytes: func(string) uint64 { return 1000 }})
	e := j.Estimate
	if e.Slots != 16*86400 || e.Images < e.Slots || e.Images > e.Slots*11/10 || e.Bytes != 1000*e.Slots {
		t.Errorf("%+v", e)
	}
	if twice := 2 * time.Duration(86400*1.04/250*float64(time.Second)); e.Time < twice || e.Time > twice+2*time.Second {
		t.Errorf("it takes %v, for two rounds of streams that take %v", e.Time, twice/2)
	}
	if want := "16 streams, 1 382 400 slots"; !strings.HasPrefix(e.String(), want) || !strings.Contains(e.String(), " USD)") {
		t.Errorf("%v", e)
	}
}
