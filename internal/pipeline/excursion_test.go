package pipeline

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/publishtest"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

// past returns a range of the rig's first stream that has just ended, on a subject of its own.
func (r *rig) past(length time.Duration) Stream {
	s := r.initial[0]
	s.To = s.From
	s.From = s.To.Add(-length)
	s.Routes = []publish.Route{{Output: s.Routes[0].Output, Subject: "past." + s.Routes[0].Output.Name}}
	s.fails(nil)
	return s
}

// while runs the rig's streams, and f beside them.
func (r *rig) while(t *testing.T, f func(ctx context.Context)) {
	t.Helper()
	r.follow = func(ctx context.Context, _ Set) { f(ctx) }
	if err := r.run(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestExcursion: a range of the past is read beside the stream of the same name, each slot once
// and in order, with outcomes of its own, headers of its own, and a delivery of its own.
func TestExcursion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, other := &rig{decode: func(source.Slot) time.Duration { return 30 * time.Millisecond }}, &publishtest.Memory{}
		r.build(t, 1, 20*time.Second, nil)
		past := r.past(10 * time.Second)
		o := r.Begin(Excursion{Stream: past, Delivery: other, Background: true, Mark: func(m publish.Message) publish.Message {
			m.Header["Test"] = []string{"marked"}
			return m
		}})
		if err := o.Run(t.Context()); !errors.Is(err, ErrNotRunning) {
			t.Errorf("before the beginning: %v", err)
		}
		o = r.Begin(Excursion{Stream: past, Delivery: other, Mark: o.stream.mark})
		r.while(t, func(ctx context.Context) {
			if err := o.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		var want []string
		for s := past.From; s < past.To; s = past.Grid.Step(s, 1) {
			want = append(want, s.String())
		}
		var got []string
		for _, m := range other.Received("past.a") {
			got = append(got, m.Header["Cvf-Time"][0])
			if m.Header["Test"] == nil {
				t.Error("a message was not marked")
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if st := o.Stats(); st.Ended[source.Published] != 50 || st.Pending != 0 {
			t.Errorf("%+v", st)
		}
		if st := r.Streams()[0].Stats; len(r.Streams()) != 1 || st.Ended[source.Published] != 100 || len(r.slots(t, "cam-1.a")) != 100 {
			t.Errorf("the stream itself: %+v", st)
		}
		if n := r.InflightBytes(); n != 0 {
			t.Errorf("%d bytes in flight at the end", n)
		}
	})
}

// TestBackgroundThatIsStuck: nobody takes what excursions in the background deliver. The stream
// goes on, even with frames that take more than the background leaves.
func TestBackgroundThatIsStuck(t *testing.T) {
	for _, inflight := range []int64{24, 100, 500} { // a frame, which is a slot's name, has 24 bytes
		synctest.Test(t, func(t *testing.T) {
			r := &rig{}
			r.build(t, 1, 20*time.Second, func(o *Options, _ []Stream) { o.Inflight = inflight })
			r.while(t, func(ctx context.Context) {
				stuck, stop := context.WithCancel(ctx)
				ended := make(chan error)
				for range 5 {
					o := r.Begin(Excursion{Stream: r.past(time.Minute), Delivery: &holding{}, Background: true})
					go func() { ended <- o.Run(stuck) }()
				}
				time.Sleep(15 * time.Second)
				if n := len(r.slots(t, "cam-1.a")); n < 70 {
					t.Errorf("%d bytes in flight: %d slots of the stream", inflight, n)
				}
				r.turns.mu.Lock()
				if n := r.turns.behind; n == 0 || n > max(inflight/2, 1) {
					t.Errorf("%d bytes in flight: the background holds %d", inflight, n)
				}
				r.turns.mu.Unlock()
				stop()
				for range 5 {
					if err := <-ended; !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
				}
			})
		})
	}
}

// holding is a delivery that takes nothing before ctx ends.
type holding struct{ publishtest.Memory }

func (*holding) Publish(ctx context.Context, _ publish.Message) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestBackgroundWaits: with too few workers, the background gets what the stream leaves.
func TestBackgroundWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow = 120 * time.Millisecond // of the 200 between two slots
		r, oldest := &rig{decode: func(source.Slot) time.Duration { return slow }}, time.Duration(0)
		r.refuse = func(m publish.Message) error {
			at, err := time.Parse(time.RFC3339, m.Header["Cvf-Time"][0])
			if m.Subject == "cam-1.a" {
				oldest = max(oldest, time.Since(at))
			}
			return err
		}
		r.build(t, 1, 20*time.Second, func(o *Options, _ []Stream) { o.Workers = 1 })
		r.while(t, func(ctx context.Context) {
			done := make(chan error)
			for range 4 {
				go func() { done <- r.Begin(Excursion{Stream: r.past(4 * time.Second), Background: true}).Run(ctx) }()
			}
			for range 4 {
				if err := <-done; err != nil && !errors.Is(err, ErrNotRunning) {
					t.Error(err)
				}
			}
		})
		if oldest > 3*slow {
			t.Errorf("a frame of the stream was %v old", oldest)
		}
		if n := len(r.out.Received("past.a")); n < 40 {
			t.Errorf("%d frames of the background", n)
		}
	})
}

// TestExcursionResumes: one that is cut short goes on where it was confirmed.
func TestExcursionResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cursors := &sourcetest.Cursors{}
		var all []source.Slot
		for i := range 3 {
			r := &rig{decode: func(source.Slot) time.Duration { return 100 * time.Millisecond }}
			r.build(t, 1, 30*time.Second, func(o *Options, _ []Stream) { o.Workers = 1 })
			past := r.past(10 * time.Second)
			past.From, past.To = 1000_000, source.Slot(1000_000).Add(10*time.Second)
			past.Key = "past"
			past.fails(nil)
			r.while(t, func(ctx context.Context) {
				ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
				if i == 2 {
					ctx = context.WithoutCancel(ctx)
				}
				defer cancel()
				o := r.Begin(Excursion{Stream: past, Cursors: cursors})
				if err := o.Run(ctx); (err == nil) != (i == 2) {
					t.Errorf("run %d: %v: %+v", i, err, o.Stats())
				}
			})
			all = append(all, r.slots(t, "past.a")...)
		}
		if len(all) != 50 || !slices.IsSorted(all) {
			t.Errorf("%d slots, sorted: %v", len(all), slices.IsSorted(all))
		}
	})
}
