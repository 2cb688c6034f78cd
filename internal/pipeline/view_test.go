package pipeline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// TestView looks at a stream from several places, and at one that has no frames.
func TestView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{bad: func(s source.Slot) bool { return s.Time().Second()%20 == 15 }}
		begin := time.Now()
		r.unheard = func(subject string) bool { return !strings.HasSuffix(subject, ".a") }
		r.build(t, 2, 30*time.Second, func(_ *Options, s []Stream) {
			s[1].fails(func() error { return source.ErrNoMedia })
		})
		ran := make(chan error, 1)
		go func() { ran <- r.run(t.Context()) }()
		time.Sleep(5 * time.Second)

		both := make(chan View, 2)
		for range 2 {
			go func() {
				v, err := r.View(t.Context(), "cam-1", "b", 0)
				if err != nil {
					t.Error(err)
				}
				both <- v
			}()
		}
		one, two := <-both, <-both
		if one.Frame.Slot == two.Frame.Slot || one.Outcome != source.Published || string(one.Tensor.Data) != string(one.Frame.Data) {
			t.Errorf("%v %v, %v %v", one.Frame, one.Outcome, two.Frame, two.Outcome)
		}
		soon, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := r.View(soon, "cam-2", "a", 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a stream without frames: %v", err)
		}
		for _, name := range [][2]string{{"cam-3", "a"}, {"cam-1", "c"}} {
			if _, err := r.View(t.Context(), name[0], name[1], 0); !errors.Is(err, ErrUnknown) {
				t.Errorf("%v: %v", name, err)
			}
		}
		for {
			v, err := r.View(t.Context(), "cam-1", "a", 0)
			if err != nil {
				t.Fatal(err)
			}
			if r.bad(v.Frame.Slot) {
				if v.Outcome != source.Undecodable || v.Tensor != nil || v.Err == nil {
					t.Errorf("an undecodable frame: %+v", v)
				}
				break
			}
		}
		if n := r.streams["cam-2"].views.n.Load(); n != 0 {
			t.Errorf("%d still wait", n)
		}
		// What is looked at is no more than was asked for.
		made := len(r.out.Received("cam-1.b")) + len(r.out.Received("cam-2.b"))
		if made != 2 {
			t.Errorf("%d tensors made of an output that nobody listens to, want those 2 that were looked at", made)
		}
		waiting := make(chan error, 1)
		go func() {
			_, err := r.View(t.Context(), "cam-2", "a", 0)
			waiting <- err
		}()
		if err := <-ran; err != nil {
			t.Fatal(err)
		}
		if err := <-waiting; !errors.Is(err, ErrNotRunning) {
			t.Errorf("at the end after %v: %v", time.Since(begin), err)
		}
	})
}

// recycled is a feed whose pictures are overwritten when they are given back.
type recycled struct {
	source.Feed
	t       *testing.T
	images  int
	recycle atomic.Int64
}

func (r *recycled) Frames(ctx context.Context) iter.Seq2[source.Frame, error] {
	return func(yield func(source.Frame, error) bool) {
		for f, err := range r.Feed.Frames(ctx) {
			r.images++
			again := false
			f.Recycle = func() {
				if again {
					r.t.Error("given back twice")
				}
				again = true
				r.recycle.Add(1)
				clear(f.Data)
			}
			if !yield(f, err) {
				return
			}
		}
	}
}

// TestRecycle: pictures are given back once, and not before they have been read: those
// that two look at never are.
func TestRecycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{decode: func(source.Slot) time.Duration { return 250 * time.Millisecond }}
		feed := &recycled{t: t}
		r.build(t, 1, 30*time.Second, func(o *Options, s []Stream) {
			o.Workers = 1 // too few
			s[0].Freshness = 3 * time.Second
			live := s[0].Open
			s[0].Open = func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
				feed.Feed = live(l, fetched)
				return feed
			}
		})
		ran := make(chan error, 1)
		go func() { ran <- r.run(t.Context()) }()
		time.Sleep(5 * time.Second)
		seen := make(chan View, 2)
		for _, output := range []string{"a", "b"} {
			go func() {
				v, err := r.View(t.Context(), "cam-1", output, 0)
				if err != nil {
					t.Error(err)
				}
				seen <- v
			}()
		}
		one, two := <-seen, <-seen
		if err := <-ran; err != nil {
			t.Fatal(err)
		}
		for _, v := range []View{one, two} {
			if string(v.Frame.Data) != fmt.Sprint(v.Frame.Slot) || v.Frame.Recycle != nil {
				t.Errorf("looked at: %q of %v, to be given back: %t", v.Frame.Data, v.Frame.Slot, v.Frame.Recycle != nil)
			}
		}
		st := r.Streams()[0]
		if st.Stats.Ended[source.Stale] == 0 || len(r.slots(t, "cam-1.a")) == 0 { // which reads them
			t.Errorf("%v", st.Stats.Ended)
		}
		if n := int(feed.recycle.Load()); n == 0 || n >= feed.images {
			t.Errorf("%d of %d given back", feed.recycle.Load(), feed.images)
		}
	})
}

// TestState has one stream that is well and one that cannot be read.
func TestState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.build(t, 2, 0, func(_ *Options, s []Stream) {
			s[1].fails(func() error { return errors.New("no permission") })
		})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		go func() {
			time.Sleep(50 * time.Second)
			all := r.Streams()
			if s := all[0]; s.Name != "cam-1" || s.Problem != nil || s.Routes[1].Subject != "cam-1.b" {
				t.Errorf("%+v", s)
			}
			if s := all[1]; s.Problem == nil || s.Problem.Error() != "no permission" {
				t.Errorf("%v", s.Problem)
			}
		}()
		if err := r.run(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkViewIdle measures what looking costs a frame while nobody looks.
func BenchmarkViewIdle(b *testing.B) {
	var vs views
	for b.Loop() {
		if vs.take(0, nil) != nil {
			b.Fatal("somebody looks")
		}
	}
}
