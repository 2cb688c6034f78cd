package bursts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A reading is read at a slot each millisecond, and never when it is stuck.
type reading struct {
	Range
	stuck  bool
	ledger *source.Ledger
}

func (r *reading) Run(ctx context.Context) error {
	r.ledger.Extend(r.To)
	grid := r.ledger.Grid()
	for s := grid.Ceil(r.From); s < r.To; s = grid.Step(s, 1) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
		if r.stuck {
			<-ctx.Done()
			return ctx.Err()
		}
		r.ledger.Resolve(s, source.Published)
	}
	return nil
}

func (r *reading) Stats() source.Stats { return r.ledger.Stats() }

// A rig has bursts whose parts it remembers.
type rig struct {
	*Bursts
	mu    sync.Mutex
	read  []Range
	stuck bool
}

const limit = time.Minute

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{}
	r.Bursts = New(Options{
		Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Limits: func(name string) (Limits, error) {
			if name == "unknown" {
				return Limits{}, errors.New("no such stream")
			}
			return Limits{Interval: 200 * time.Millisecond, Before: 5 * time.Second, After: 10 * time.Second, Most: limit}, nil
		},
		Open: func(of Range) (Reading, error) {
			grid, err := source.NewGrid(of.Interval)
			if err != nil {
				return nil, err
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.read = append(r.read, of)
			return &reading{of, r.stuck, source.NewLedger(grid, of.From)}, nil
		},
	})
	return r
}

// serve reads the bursts until the returned function is called.
func (r *rig) serve(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { r.Serve(ctx) })
	return func() { cancel(); serving.Wait() }
}

func (r *rig) ask(t *testing.T, at time.Time, before, after, interval time.Duration) Answer {
	t.Helper()
	a, err := r.Ask(Request{Stream: "cam", Time: at, Before: &before, After: &after, Interval: &interval})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestMerge: requests that overlap or touch are one burst, no slot of which is read twice, up to
// its longest. A finer request reads its own slots.
func TestMerge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const fine, coarse = 200 * time.Millisecond, time.Second
		r := newRig(t)
		defer r.serve(t)()
		now := time.Now().Truncate(time.Minute)
		first := r.ask(t, now, 5*time.Second, 5*time.Second, fine)
		for _, step := range []struct {
			name          string
			at            time.Duration // after the first
			before, after time.Duration
			interval      time.Duration
			joined        bool
			from, to      time.Duration // of the burst
			parts         int           // more
		}{
			{"the same", 0, 5 * time.Second, 5 * time.Second, fine, true, -5 * time.Second, 5 * time.Second, 0},
			{"within, and coarser", 0, time.Second, time.Second, coarse, true, -5 * time.Second, 5 * time.Second, 0},
			{"later", 3 * time.Second, 5 * time.Second, 5 * time.Second, fine, true, -5 * time.Second, 8 * time.Second, 1},
			{"touching", 8 * time.Second, 0, 2 * time.Second, fine, true, -5 * time.Second, 10 * time.Second, 1},
			{"earlier", -5 * time.Second, 5 * time.Second, 0, fine, true, -10 * time.Second, 10 * time.Second, 1},
			{"around", 0, 12 * time.Second, 12 * time.Second, fine, true, -12 * time.Second, 12 * time.Second, 2},
			{"longer than may be", 30 * time.Second, 20 * time.Second, 30 * time.Second, fine, true, -12 * time.Second, 48 * time.Second, 1},
			{"after it is full", 48 * time.Second, 5 * time.Second, 5 * time.Second, fine, false, 43 * time.Second, 53 * time.Second, 1},
			{"elsewhere", -5 * time.Minute, 5 * time.Second, 5 * time.Second, coarse, false, -5*time.Minute - 5*time.Second, -5*time.Minute + 5*time.Second, 1},
			{"there, and finer", -5 * time.Minute, 5 * time.Second, 5 * time.Second, fine, true, -5*time.Minute - 5*time.Second, -5*time.Minute + 5*time.Second, 1},
		} {
			time.Sleep(time.Second) // until the parts have ended
			parts := len(r.read)
			a := r.ask(t, now.Add(step.at), step.before, step.after, step.interval)
			if a.Joined != step.joined || a.From.Sub(source.SlotAt(now)) != step.from || a.To.Sub(source.SlotAt(now)) != step.to || len(r.read)-parts != step.parts {
				t.Errorf("%s: %+v, %v to %v, %d more parts", step.name, a, a.From.Sub(source.SlotAt(now)), a.To.Sub(source.SlotAt(now)), len(r.read)-parts)
			}
			if step.name == "around" && a.ID != first.ID {
				t.Errorf("%s: %+v is not %+v", step.name, a, first)
			}
		}
		time.Sleep(time.Minute)
		read := map[string]map[source.Slot]bool{}
		for _, p := range r.read {
			grid := fmt.Sprint(p.Interval)
			if read[grid] == nil {
				read[grid] = map[source.Slot]bool{}
			}
			for s := p.From; s < p.To; s = s.Add(p.Interval) {
				if read[grid][s] {
					t.Errorf("%v is read twice", s)
				}
				read[grid][s] = true
			}
		}
		if n := r.Begun("cam"); n != 3 {
			t.Errorf("%d bursts have begun", n)
		}
		st := r.Add("cam", source.Stats{})
		if want := uint64(len(read["200ms"]) + len(read["1s"])); st.Expected != want || st.Ended[source.Published] != want || st.Pending != 0 {
			t.Errorf("%+v, want %d", st, want)
		}
	})
}

// TestSumNeverFalls asks from many goroutines while the sums are read: each adds up, and no
// figure becomes less when a burst ends.
func TestSumNeverFalls(t *testing.T) {
	r := newRig(t)
	defer r.serve(t)()
	ctx, cancel := context.WithCancel(t.Context())
	var asking, reading sync.WaitGroup
	reading.Go(func() {
		var last source.Stats
		for ctx.Err() == nil {
			st := r.Add("cam", source.Stats{Expected: 1, Pending: 1})
			sum := st.Pending
			for _, n := range st.Ended {
				sum += n
			}
			if sum != st.Expected || st.Expected < last.Expected || st.Ended[source.Published] < last.Ended[source.Published] {
				t.Errorf("%+v after %+v", st, last)
				return
			}
			last = st
			r.Of("cam")
		}
	})
	now := time.Now()
	var ids sync.Map
	for i := range 8 {
		asking.Go(func() {
			for k := range 20 {
				a, err := r.Begin("cam", now.Add(time.Duration((i+k)%4)*time.Second), "race")
				var refused *RefusedError
				switch {
				case err == nil:
					ids.Store(a.ID, true)
				case !errors.As(err, &refused) || !refused.Busy:
					t.Error(err)
				}
			}
		})
	}
	asking.Wait()
	n := 0
	ids.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("overlapping requests are %d bursts", n)
	}
	deadline := time.After(10 * time.Second)
	for tick := time.NewTicker(time.Millisecond); slices.ContainsFunc(r.Of("cam"), func(s State) bool { return s.Running }); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the burst does not end")
		}
	}
	cancel()
	reading.Wait()
}

// TestCutShort: what a burst has not read when its stream or the process ends is accounted for.
func TestCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.stuck = true
		stop := r.serve(t)
		r.ask(t, time.Now(), time.Second, time.Second, 200*time.Millisecond)
		time.Sleep(time.Second)
		if st := r.Add("cam", source.Stats{}); st.Expected != 10 || st.Pending != 10 {
			t.Errorf("while it is read: %+v", st)
		}
		stop()
		if st := r.Add("cam", source.Stats{}); st.Expected != 10 || st.Pending != 0 || st.Ended[source.Dropped] != 10 {
			t.Errorf("at the end: %+v", st)
		}
		if _, err := r.Begin("cam", time.Now(), ""); err == nil {
			t.Error("a burst begins after the end")
		}
		r.Forget("cam")
		if st := r.Add("cam", source.Stats{}); st.Expected != 0 || len(r.Of("cam")) != 0 {
			t.Errorf("after it was forgotten: %+v", st)
		}
	})
}

// TestEnd: when a stream stops, its bursts are cut short, and what they have not read is read when
// somebody asks again.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.stuck = true
		defer r.serve(t)()
		a := r.ask(t, time.Now(), time.Second, time.Second, 200*time.Millisecond)
		time.Sleep(time.Second)
		r.End("cam")
		r.End("unknown")
		r.stuck = false
		if again := r.ask(t, time.Now().Add(-time.Second), time.Second, time.Second, 200*time.Millisecond); again.ID != a.ID || len(r.read) != 2 {
			t.Errorf("%+v after %+v, %d parts", again, a, len(r.read))
		}
		time.Sleep(time.Second)
		if st := r.Add("cam", source.Stats{}); st.Expected != 20 || st.Ended[source.Dropped] != 10 || st.Ended[source.Published] != 10 {
			t.Errorf("%+v", st)
		}
	})
}

// TestTooMany: bursts that do not end are bounded.
func TestTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.stuck = true
		defer r.serve(t)()
		refusals := 0
		for i := range 2 * mostOfStream {
			_, err := r.Begin("cam", time.Now().Add(-time.Duration(i)*time.Minute), "")
			var refused *RefusedError
			if errors.As(err, &refused) && refused.Busy && strings.Contains(refused.Text, "ask again") {
				refusals++
			}
		}
		if refusals != mostOfStream {
			t.Errorf("%d were refused", refusals)
		}
		if _, err := r.Begin("unknown", time.Now(), ""); err == nil || err.Error() != "no such stream" {
			t.Error(err)
		}
	})
}

// TestForgets: a burst that has ended is remembered for some minutes, so that a request for the
// same time joins it, and not for ever.
func TestForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.serve(t)()
		at := time.Now()
		a := r.ask(t, at, 5*time.Second, 0, 200*time.Millisecond)
		time.Sleep(remembered - time.Minute)
		if again := r.ask(t, at, 5*time.Second, 0, 200*time.Millisecond); again.ID != a.ID {
			t.Errorf("%+v is not %+v", again, a)
		}
		time.Sleep(2 * time.Minute)
		if all := r.Of("cam"); len(all) != 0 {
			t.Errorf("%+v", all)
		}
		if st := r.Add("cam", source.Stats{}); st.Ended[source.Published] != 25 {
			t.Errorf("%+v", st)
		}
	})
}
