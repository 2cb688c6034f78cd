package pipeline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
	"github.com/cvfeeder/cvfeeder/transform"
)

// running runs the rig's pipeline until the test calls end.
func (r *rig) running(t *testing.T) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := r.InflightBytes(); n != 0 {
			t.Errorf("%d bytes in flight at the end", n)
		}
	}
}

// TestFrameIsThePublishedOne asks for slots that have been published, while the
// stream goes on, at instants up to the next slot and beyond the freshness limit.
func TestFrameIsThePublishedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.build(t, 2, 0, func(_ *Options, streams []Stream) { streams[0].Freshness = 5 * time.Second })
		end := r.running(t)
		time.Sleep(30 * time.Second)
		synctest.Wait() // for what is due at this instant, too
		published := map[string]publish.Message{}
		for _, subject := range []string{"cam-1.a", "cam-1.b", "cam-2.a", "cam-2.b"} {
			for _, m := range r.out.Received(subject) {
				published[subject+" "+m.Header["Cvf-Time"][0]] = m
			}
		}
		before := r.Streams()[0].Stats.Expected
		for key, want := range published {
			subject, slot, _ := strings.Cut(key, " ")
			stream, output, _ := strings.Cut(subject, ".")
			at, err := time.Parse(time.RFC3339, slot)
			if err != nil {
				t.Fatal(err)
			}
			for _, late := range []time.Duration{0, 1, 199 * time.Millisecond} {
				var got publish.Message
				if err := r.Frame(t.Context(), stream, at.Add(late), output, func(x *transform.Tensor) error {
					got = publish.NewMessage(subject, x)
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				got.Expires, want.Expires = time.Time{}, time.Time{}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatal(diff)
				}
			}
		}
		if len(published) < 400 {
			t.Errorf("only %d tensors", len(published))
		}
		if after := r.Streams()[0].Stats.Expected; after != before {
			t.Errorf("the ledger went from %d to %d slots", before, after)
		}
		end()
	})
}

// A scripted feed answers every request for a frame in the same way.
type scripted struct {
	sourcetest.Feed
	err error
}

func (f *scripted) Frame(context.Context, source.Slot) (source.Frame, error) {
	return source.Frame{}, f.err
}

// answers makes requests for frames of a stream fail.
func (s *Stream) answers(err error) {
	live := s.Open
	s.Open = func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
		return &scripted{Feed: *live(l, fetched).(*sourcetest.Feed), err: err}
	}
}

func TestFrameErrors(t *testing.T) {
	begin := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // synctest's
	at := begin.Add(-time.Minute)
	service := errors.New("500")
	useless := errors.New("of no use")
	tests := map[string]struct {
		stream, output string
		at             time.Time
		interval       time.Duration
		err            error // of the feed
		bad            bool
		use            error
		want           error
		text           string
	}{
		"found":           {at: at},
		"a long interval": {at: at.Add(59 * time.Second), interval: time.Minute},
		"no stream":       {stream: "cam-9", at: at, want: ErrUnknown, text: `unknown stream "cam-9": there is cam-1`},
		"no output":       {output: "c", at: at, want: ErrUnknown, text: `unknown output "c" of stream cam-1: there is a, b`},
		"future":          {at: begin.Add(time.Hour), want: source.ErrNoMedia},
		"no media":        {at: at, err: fmt.Errorf("%w then", source.ErrNoMedia), want: source.ErrNoMedia, text: "no media then"},
		"the service":     {at: at, err: service, want: service},
		"undecodable":     {at: at, bad: true, text: "stream cam-1: 1999-12-31T23:59:00.000Z: undecodable (truncated)"},
		"use":             {at: at, use: useless, want: useless},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &rig{bad: func(source.Slot) bool { return tt.bad }}
				r.build(t, 1, 0, func(_ *Options, streams []Stream) {
					if tt.err != nil {
						streams[0].answers(tt.err)
					}
					if tt.interval > 0 {
						streams[0].Grid = must(source.NewGrid(tt.interval))
					}
				})
				end := r.running(t)
				defer end()
				stream, output := or(tt.stream, "cam-1"), or(tt.output, "a")
				used := 0
				err := r.Frame(t.Context(), stream, tt.at, output, func(x *transform.Tensor) error {
					used++
					if want := source.SlotAt(at); x.Slot != want {
						t.Errorf("slot %v, want %v", x.Slot, want)
					}
					return tt.use
				})
				failed := tt.want != nil || tt.text != ""
				if failed != (err != nil) || tt.want != nil && !errors.Is(err, tt.want) || err != nil && !strings.Contains(err.Error(), tt.text) {
					t.Errorf("got %v", err)
				}
				if (used == 1) != (err == nil || tt.use != nil) {
					t.Errorf("used %d times", used)
				}
			})
		})
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// silent is a feed that yields nothing and answers nothing before its context ends.
type silent struct{}

func (silent) Frames(ctx context.Context) iter.Seq2[source.Frame, error] {
	return func(func(source.Frame, error) bool) { <-ctx.Done() }
}

func (silent) Frame(ctx context.Context, _ source.Slot) (source.Frame, error) {
	<-ctx.Done()
	return source.Frame{}, ctx.Err()
}

func (silent) State() source.FeedState { return source.FeedState{} }

// isSilent makes the feed of a stream silent.
func (s *Stream) isSilent() {
	s.Open = func(*source.Ledger, func(time.Duration, error)) source.Feed { return silent{} }
}

func TestFrameEndsWithThePipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.build(t, 1, 0, func(_ *Options, streams []Stream) { streams[0].isSilent() })
		ask := func(ctx context.Context) error {
			return r.Frame(ctx, "cam-1", time.Now(), "a", func(*transform.Tensor) error { return nil })
		}
		if err := ask(t.Context()); !errors.Is(err, ErrNotRunning) {
			t.Errorf("before: %v", err)
		}
		end := r.running(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := ask(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after a second: %v", err)
		}
		asked := make(chan error)
		go func() { asked <- ask(t.Context()) }()
		synctest.Wait()
		go end()
		if err := <-asked; !errors.Is(err, ErrNotRunning) {
			t.Errorf("at the end: %v", err)
		}
		synctest.Wait()
		if err := ask(t.Context()); !errors.Is(err, ErrNotRunning) {
			t.Errorf("after: %v", err)
		}
	})
}

// TestFrameKeepsToTheBudget: what is being used counts (the tensors; the frames are given
// back once these are made), and those that find the
// budget used up wait for it or for the end of their context.
func TestFrameKeepsToTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		const size = 24 // of a slot's name, and of a tensor, which holds it
		r.build(t, 1, 0, func(o *Options, streams []Stream) {
			o.Inflight = 4*size + 1
			streams[0].From = source.SlotAt(time.Now().Add(time.Hour)) // nothing to publish
		})
		end := r.running(t)
		using, free := 0, make(chan struct{})
		var mu sync.Mutex
		var asks sync.WaitGroup
		at := time.Now().Add(-time.Second)
		for range 5 {
			asks.Go(func() {
				err := r.Frame(t.Context(), "cam-1", at, "a", func(*transform.Tensor) error {
					mu.Lock()
					using++
					mu.Unlock()
					<-free
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if n := r.InflightBytes(); using != 3 || n != 3*size {
			t.Errorf("%d are used, of %d bytes", using, n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Frame(ctx, "cam-1", at, "a", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(free)
		asks.Wait()
		if using != 5 {
			t.Errorf("%d were used", using)
		}
		end()
	})
}

// TestFrameOfAStreamElsewhere asks for what there is none of in a stream that is known
// here, and not read.
func TestFrameOfAStreamElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.build(t, 1, 0, func(o *Options, streams []Stream) {
			other := streams[0]
			other.Name = "elsewhere"
			other.answers(source.ErrNoMedia)
			o.Find = func(name string) (Stream, bool) { return other, name == other.Name }
		})
		end := r.running(t)
		output := r.streams[r.Names()[0]].Routes[0].Output.Name
		err := r.Frame(t.Context(), "elsewhere", time.Now(), output, func(*transform.Tensor) error { return nil })
		if !errors.Is(err, source.ErrNoMedia) {
			t.Errorf("got %v", err)
		}
		end()
	})
}
