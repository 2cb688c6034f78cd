package pipeline

import (
	"errors"
	"image"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/gate"
)

// lit returns a luma with something on its left half if on is set.
func lit(on bool) *image.Gray {
	m := image.NewGray(image.Rect(0, 0, 20, 10))
	for i := range m.Pix {
		m.Pix[i] = 100
		if on && i%20 < 10 {
			m.Pix[i] = 200
		}
	}
	return m
}

// gated builds a rig of one stream of 100 slots, whose outputs have the gates. Something is to
// be seen in the slots for which there says so, counted from 0.
func (r *rig) gated(t *testing.T, there func(i int) bool, gates ...*Gate) (woken func() []int) {
	t.Helper()
	var mu sync.Mutex
	var slots []int
	r.build(t, 1, 20*time.Second, func(_ *Options, streams []Stream) {
		s := &streams[0]
		index := func(at source.Slot) int { return s.Grid.Count(s.Grid.Ceil(s.From), at) }
		for _, route := range s.Routes {
			route.Output.Spec = transform.Spec{ROI: route.Output.Spec.ROI, DType: transform.Uint8}
		}
		s.Gates = NewGates(gates, func(at source.Slot) {
			mu.Lock()
			defer mu.Unlock()
			slots = append(slots, index(at))
		})
		r.luma = func(at source.Slot) (*image.Gray, error) { return lit(there(index(at))), nil }
	})
	return func() []int { return slots }
}

// indices returns which of the stream's slots were published on a subject.
func (r *rig) indices(t *testing.T, subject string) (all []int) {
	t.Helper()
	s := r.initial[0]
	for _, at := range r.slots(t, subject) {
		all = append(all, s.Grid.Count(s.Grid.Ceil(s.From), at))
	}
	return all
}

func newGate(every, relax time.Duration) *Gate {
	return &Gate{Options: gate.Options{Change: 0.1, Every: every}, Relax: relax}
}

// TestUnchanged: frames that show nothing new are not made into tensors; their slots end as
// unchanged, which is no gap, and what passes says what passed before it.
func TestUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var decoded atomic.Int64
		r := &rig{decode: func(source.Slot) time.Duration { decoded.Add(1); return time.Millisecond }}
		r.unheard = func(subject string) bool { return subject == "cam-1.b" }
		r.gated(t, func(i int) bool { return i >= 20 && i < 40 }, newGate(5*time.Second, 0), nil)
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []int{0, 20, 40, 65, 90} // 25 slots without a change are 5 s
		if got := r.indices(t, "cam-1.a"); !slices.Equal(got, want) {
			t.Errorf("published are %v, want %v", got, want)
		}
		if n := int(decoded.Load()); n != len(want) {
			t.Errorf("%d frames were decoded", n)
		}
		st := r.Streams()[0].Stats
		if st.Ended[source.Published] != 5 || st.Ended[source.Unchanged] != 95 || st.Gaps != [len(st.Gaps)]uint64{} || len(r.gaps(t, "cam-1")) > 0 {
			t.Errorf("%+v", st)
		}
		messages := r.out.Received("cam-1.a")
		for i, m := range messages {
			since, want := "", ""
			if len(m.Header[publish.HeaderSince]) > 0 {
				since = m.Header[publish.HeaderSince][0]
			}
			if i > 0 {
				want = messages[i-1].Header[publish.HeaderTime][0]
			}
			if since != want {
				t.Errorf("message %d is since %q, want %q", i, since, want)
			}
		}
	})
}

// TestGatesAreOfOutputs: each output has its own gate, and sees only its own part of the
// picture. A slot is published if one of them is.
func TestGatesAreOfOutputs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.gated(t, func(i int) bool { return i >= 50 }, newGate(time.Hour, 0), newGate(time.Hour, 0))
		r.initial[0].Routes[1].Output.Spec.ROI = transform.ROI{X: 0.5, W: 0.5, H: 1, Fraction: true} // where nothing happens
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for subject, want := range map[string][]int{"cam-1.a": {0, 50}, "cam-1.b": {0}} {
			if got := r.indices(t, subject); !slices.Equal(got, want) {
				t.Errorf("%s: published are %v, want %v", subject, got, want)
			}
		}
		if st := r.Streams()[0].Stats; st.Ended[source.Published] != 2 || st.Ended[source.Unchanged] != 98 {
			t.Errorf("%+v", st)
		}
	})
}

// TestGatesKeepTheOrder: whichever worker is ready first, frames pass the gates in the order of
// their slots.
func TestGatesKeepTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{decode: func(s source.Slot) time.Duration { return time.Duration(s/200%7) * 150 * time.Millisecond }}
		r.gated(t, func(i int) bool { return i/10%2 == 1 }, newGate(time.Hour, 0), nil)
		r.unheard = func(subject string) bool { return subject == "cam-1.b" }
		look := r.luma
		r.luma = func(at source.Slot) (*image.Gray, error) {
			time.Sleep(time.Duration(at/200%5) * 100 * time.Millisecond)
			return look(at)
		}
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := r.indices(t, "cam-1.a"), []int{0, 10, 20, 30, 40, 50, 60, 70, 80, 90}; !slices.Equal(got, want) {
			t.Errorf("published are %v, want %v", got, want)
		}
	})
}

// TestWhatIsLostIsShownAgain: when a frame that passed did not reach anybody, the next one
// passes, whatever it shows; and so does one of which nobody can tell.
func TestWhatIsLostIsShownAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.gated(t, func(i int) bool { return i >= 20 }, newGate(time.Hour, 0), nil)
		grid, from := r.initial[0].Grid, r.initial[0].From
		slot := func(i int) string { return grid.Step(grid.Ceil(from), i).String() }
		r.unheard = func(subject string) bool { return subject == "cam-1.b" }
		r.refuse = func(m publish.Message) error {
			if m.Header[publish.HeaderTime][0] == slot(20) {
				return &publish.DropError{Reason: "slow", Err: errors.New("full")}
			}
			return nil
		}
		r.bad = func(s source.Slot) bool { return s.String() == slot(0) }
		look := r.luma
		r.luma = func(s source.Slot) (*image.Gray, error) {
			if s.String() == slot(60) {
				return nil, errors.New("odd")
			}
			return look(s)
		}
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := r.indices(t, "cam-1.a")
		// How soon depends on how many frames are at the gates before the loss is known.
		if len(got) != 4 || got[0] < 1 || got[0] > 4 || got[1] < 21 || got[1] > 24 || got[2] != 60 || got[3] != 61 {
			t.Errorf("published are %v, want about 1, 21, 60, 61", got)
		}
		if st := r.Streams()[0].Stats; st.Ended[source.Dropped] != 1 || st.Ended[source.Undecodable] != 1 || st.Ended[source.Unchanged] != 94 {
			t.Errorf("%+v", st)
		}
	})
}

// TestRepeatedIsNotLost: what a burst has published already has reached whoever listens, so the
// next frame does not pass for that.
func TestRepeatedIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.gated(t, func(i int) bool { return i >= 20 }, newGate(time.Hour, 0), nil)
		grid, from := r.initial[0].Grid, r.initial[0].From
		repeated := grid.Step(grid.Ceil(from), 20).String()
		r.unheard = func(subject string) bool { return subject == "cam-1.b" }
		r.refuse = func(m publish.Message) error {
			if m.Header[publish.HeaderTime][0] == repeated {
				return publish.ErrRepeated
			}
			return nil
		}
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := r.indices(t, "cam-1.a"); !slices.Equal(got, []int{0}) {
			t.Errorf("published are %v, want the first only", got)
		}
		if st := r.Streams()[0].Stats; st.Ended[source.Skipped] != 1 || st.Ended[source.Unchanged] != 98 {
			t.Errorf("%+v", st)
		}
	})
}

// TestGatesAreOpen: frames that somebody asks for, and those that somebody looks at, are made
// whatever they show. A look publishes nothing.
func TestGatesAreOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.gated(t, func(int) bool { return false }, newGate(time.Hour, 0), nil)
		r.unheard = func(subject string) bool { return subject == "cam-1.b" }
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(5 * time.Second)
			v, err := r.View(t.Context(), "cam-1", "a", 0)
			if err != nil || v.Outcome != source.Unchanged || v.Tensor == nil || v.Err != nil {
				t.Errorf("a look: %+v, %v", v, err)
			}
			err = r.Frame(t.Context(), "cam-1", time.Now().Add(-time.Second), "a", func(got *transform.Tensor) error {
				if got == nil {
					t.Error("a request has no tensor")
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if got := r.indices(t, "cam-1.a"); !slices.Equal(got, []int{0}) {
			t.Errorf("published are %v", got)
		}
	})
}

// TestUnwatchedIsNotUnchanged: nobody listens, so nothing is decided; who comes gets the next
// frame.
func TestUnwatchedIsNotUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.gated(t, func(int) bool { return false }, newGate(time.Hour, 0), nil)
		begin := time.Now()
		r.unheard = func(subject string) bool {
			return subject == "cam-1.b" || time.Since(begin) > 6*time.Second && time.Since(begin) < 14*time.Second
		}
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := r.indices(t, "cam-1.a")
		st := r.Streams()[0].Stats
		if len(got) != 2 || got[0] != 0 || got[1] < 60 || st.Ended[source.Unwatched] < 38 || st.Ended[source.Unchanged] < 55 {
			t.Errorf("published are %v, %+v", got, st)
		}
	})
}

// TestPace: while nothing changes, the least of the paces is enough; when something does, or an
// output has none, it is the stream's own. What woke the stream is told.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		woken := r.gated(t, func(i int) bool { return i >= 60 }, newGate(5*time.Second, 3*time.Second), newGate(5*time.Second, 2*time.Second))
		gates := r.initial[0].Gates
		var paces [100]time.Duration
		look, s := r.luma, r.initial[0]
		r.luma = func(at source.Slot) (*image.Gray, error) {
			paces[s.Grid.Count(s.Grid.Ceil(s.From), at)] = gates.Pace()
			return look(at)
		}
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, pace := range paces {
			quiet := i > 30 && i < 60 || i > 90
			if some := i < 20 || i > 65 && i < 82; quiet && pace != 2*time.Second || some && pace != 0 {
				t.Errorf("slot %d: a pace of %v", i, pace)
			}
		}
		if got := woken(); !slices.Equal(got, []int{60}) {
			t.Errorf("woken in %v", got)
		}
	})
	if NewGates([]*Gate{nil, nil}, nil) != nil {
		t.Error("no gates are gates")
	}
	if pace := NewGates([]*Gate{newGate(time.Second, time.Second), nil}, nil).Pace(); pace != 0 {
		t.Errorf("an output without a gate has a pace of %v", pace)
	}
}
