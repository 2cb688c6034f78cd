package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOrderIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Every third frame takes much longer than its neighbours.
		r := &rig{decode: func(s source.Slot) time.Duration { return time.Duration(s/200%3) * 150 * time.Millisecond }}
		r.build(t, 2, 20*time.Second, nil)
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, subject := range []string{"cam-1.a", "cam-1.b", "cam-2.a", "cam-2.b"} {
			slots := r.slots(t, subject)
			if len(slots) != 100 || !slices.IsSorted(slots) {
				t.Errorf("%s: %d slots, sorted: %v", subject, len(slots), slices.IsSorted(slots))
			}
		}
		for _, s := range r.Streams() {
			if s.Stats.Ended[source.Published] != 100 || s.Stats.Pending != 0 || s.InHand {
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
		const job = 3 * 24 // a frame, which is a slot's name, and its two tensors
		r.build(t, 4, 20*time.Second, func(o *Options, _ []Stream) { o.Inflight = 2*job + 3 })
		if err := r.run(t.Context()); err != nil {
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
		if err := r.run(t.Context()); err != nil {
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
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		st := r.Streams()[0]
		if st.Stats.Ended[source.Published] != 48 || st.Stats.Ended[source.Undecodable] != 1 || st.Stats.Ended[source.Dropped] != 1 {
			t.Errorf("%+v", st)
		}
		want := []publish.Gap{
			{Stream: "cam-1", From: first.Add(2 * time.Second), To: first.Add(2 * time.Second), Slots: 1, Reason: "undecodable"},
			{Stream: "cam-1", From: first.Add(4 * time.Second), To: first.Add(4 * time.Second), Slots: 1, Reason: "dropped"},
		}
		if gaps := r.gaps(t, "cam-1"); !slices.Equal(gaps, want) {
			t.Errorf("gaps %+v, want %+v", gaps, want)
		}
	})
}

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
			s[0].Freshness = 5 * time.Second
			o.Workers = 1
		})
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		st := r.Streams()[0]
		if st.Stats.Ended[source.Stale] == 0 || st.Stats.Ended[source.Stale]+st.Stats.Ended[source.Published] != 100 {
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
		if err := r.run(ctx); err != nil {
			t.Fatal(err)
		}
		st := r.Streams()[0]
		if n := len(r.slots(t, "cam-1.a")); n == 0 || uint64(n) != st.Stats.Ended[source.Published] {
			t.Errorf("%d published, the ledger says %+v", n, st)
		}
		if lost := st.Stats.Ended[source.Dropped] + st.Stats.Ended[source.Undecodable]; lost != 0 {
			t.Errorf("%d slots were lost by the end", lost)
		}
	})
}

func TestDrainHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.build(t, 1, 0, func(o *Options, _ []Stream) {
			o.Delivery = stuck{r}
			o.Drain = 3 * time.Second
		})
		ctx, cancel := context.WithCancel(t.Context())
		begin := time.Now()
		time.AfterFunc(5*time.Second, cancel)
		time.AfterFunc(4*time.Second, func() {
			if !r.Streams()[0].InHand {
				t.Error("no frame is in hand, though none gets through")
			}
		})
		if err := r.run(ctx); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d != 8*time.Second {
			t.Errorf("ended after %v", d)
		}
		if st := r.Streams()[0]; st.Stats.Pending != st.Stats.Expected || st.Stats.Expected == 0 {
			t.Errorf("what was cut off must stay pending: %+v", st)
		}
	})
}

// stuck is a publisher that never gets through.
type stuck struct{ *rig }

func (stuck) Publish(ctx context.Context, _ publish.Message) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestCursorsAreSavedAfterTheDrain: a stream whose broker takes nothing does not keep the
// last cursor of another from being saved.
func TestCursorsAreSavedAfterTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		cursors := &sourcetest.Cursors{}
		r.build(t, 2, 0, func(o *Options, s []Stream) {
			s[1].Key = "two"
			o.Delivery = jam{r, "cam-1"}
			o.Cursors, o.Inflight = cursors, 1<<30
			o.SaveEvery = func() time.Duration { return time.Hour }
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := r.run(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if got, want := saved(cursors, "two"), r.Streams()[1].Stats.Told; got != want {
			t.Errorf("saved %v, want %v", got, want)
		}
	})
}

func TestFatalPublishErrorEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := errors.New("no such subject")
		r := &rig{refuse: func(publish.Message) error { return bad }}
		r.build(t, 3, 0, nil)
		if err := r.run(t.Context()); !errors.Is(err, bad) || !strings.Contains(err.Error(), "cam-") {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestStreamsThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		begin := time.Now()
		r.build(t, 3, 0, func(_ *Options, s []Stream) {
			s[0].fails(func() error { return fmt.Errorf("%w: stream cam-1", source.ErrNoStream) })
			s[1].fails(func() error {
				if time.Since(begin) < 30*time.Second {
					return fmt.Errorf("%w: stream cam-2", source.ErrRefused)
				}
				return nil
			})
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		time.AfterFunc(5*time.Second, func() {
			all := r.Streams()
			if !errors.Is(all[0].Problem, source.ErrNoStream) || !errors.Is(all[1].Problem, source.ErrRefused) || all[2].Problem != nil {
				t.Errorf("problems: %v, %v, %v", all[0].Problem, all[1].Problem, all[2].Problem)
			}
		})
		time.AfterFunc(60*time.Second, func() {
			if why := r.Streams()[1].Problem; why != nil {
				t.Errorf("not read after cam-2 came: %v", why)
			}
			cancel()
		})
		if err := r.run(ctx); err != nil {
			t.Fatal(err)
		}
		st := r.Streams()
		if st[0].Stats.Expected < 295 || st[0].Stats.Pending != st[0].Stats.Expected {
			t.Errorf("the slots of a stream that does not exist are expected and pending: %+v", st[0])
		}
		if st[1].Stats.Ended[source.Published] < 290 || st[2].Stats.Ended[source.Published] < 290 {
			t.Errorf("the others did not go on: %+v", st[1:])
		}
	})
}

func TestAllRefusedIsFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.build(t, 2, 0, func(_ *Options, s []Stream) {
			for i := range s {
				s[i].fails(func() error { return source.ErrRefused })
			}
		})
		if err := r.run(t.Context()); !errors.Is(err, source.ErrRefused) {
			t.Errorf("Run = %v", err)
		}
	})
}

// TestRefusedLaterIsNotFatal has the credentials expire after the service has answered,
// but before there was any media.
func TestRefusedLaterIsNotFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		expired := time.Now().Add(10 * time.Second)
		r.build(t, 1, 0, func(_ *Options, s []Stream) {
			s[0].fails(func() error {
				if time.Now().Before(expired) {
					return source.ErrNoMedia
				}
				return source.ErrRefused
			})
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.run(ctx); errors.Is(err, source.ErrRefused) {
			t.Errorf("the run has ended: %v", err)
		}
	})
}

// TestRefusedAmongOthersIsNotFatal adds a stream whose credentials are refused beside one
// that is read.
func TestRefusedAmongOthersIsNotFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.build(t, 2, 0, func(_ *Options, s []Stream) {
			s[0].fails(func() error { return source.ErrRefused })
			r.follow = func(_ context.Context, set Set) {
				time.Sleep(10 * time.Second)
				added := s[0]
				added.Name = "cam-3"
				added.fails(func() error { return source.ErrRefused })
				set.Add(added)
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.run(ctx); errors.Is(err, source.ErrRefused) {
			t.Errorf("the run has ended beside a stream that is read: %v", err)
		}
	})
}

func TestTroubleIsReportedAndCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		r := &rig{}
		r.build(t, 1, 0, func(_ *Options, s []Stream) {
			s[0].fails(func() error {
				if down.Load() {
					return errors.New("connection reset")
				}
				return nil
			})
		})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, func() {
			if why := r.Streams()[0].Problem; why == nil || why.Error() != "connection reset" {
				t.Errorf("not read: %v", why)
			}
			down.Store(false)
		})
		time.AfterFunc(60*time.Second, func() {
			if why := r.Streams()[0].Problem; why != nil {
				t.Errorf("still not read: %v", why)
			}
			cancel()
		})
		if err := r.run(ctx); err != nil {
			t.Fatal(err)
		}
		if st := r.Streams()[0]; st.Stats.Ended[source.Published] < 290 {
			t.Errorf("what was missed meanwhile was not caught up: %+v", st)
		}
	})
}
