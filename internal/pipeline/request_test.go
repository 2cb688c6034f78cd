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
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/transform"
)

// running runs the rig's pipeline until the test calls end.
func (r *rig) running(t *testing.T) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
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
		r.build(t, 2, 0, func(_ *Options, streams []Stream) { streams[0].Poll.Freshness = 5 * time.Second })
		end := r.running(t)
		time.Sleep(30 * time.Second)
		synctest.Wait() // for what is due at this instant, too
		published := map[string]publish.Message{}
		r.mu.Lock()
		for _, m := range r.messages {
			published[m.Subject+" "+m.Header["Cvf-Time"][0]] = m
		}
		r.mu.Unlock()
		before := r.Streams()[0].Expected
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
		if after := r.Streams()[0].Expected; after != before {
			t.Errorf("the ledger went from %d to %d slots", before, after)
		}
		end()
	})
}

// one answers every window with the given images, or an error.
type one struct {
	live
	asked  *[]poll.Window
	images []poll.Image
	err    error
}

func (o one) Images(ctx context.Context, w poll.Window) iter.Seq2[poll.Image, error] {
	if w.Interval != poll.MaxFragment {
		return o.live.Images(ctx, w)
	}
	return func(yield func(poll.Image, error) bool) {
		*o.asked = append(*o.asked, w)
		for _, img := range o.images {
			if !yield(img, nil) {
				return
			}
		}
		if o.err != nil {
			yield(poll.Image{}, o.err)
		}
	}
}

func TestFrameErrors(t *testing.T) {
	begin := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // synctest's
	at := begin.Add(-time.Minute)
	picture := func(t time.Time) poll.Image {
		return poll.Image{Time: t, Data: fmt.Append(nil, source.SlotAt(t))}
	}
	missing := func(t time.Time) poll.Image { return poll.Image{Time: t, Err: source.ErrNoMedia} }
	early := at.Add(-poll.MaxFragment)
	service := errors.New("500")
	useless := errors.New("of no use")
	tests := map[string]struct {
		stream, output string
		at             time.Time
		interval       time.Duration
		images         []poll.Image
		err            error // of the fetcher
		bad            bool
		use            error
		want           error
		text           string
	}{
		"found":                {at: at, images: []poll.Image{missing(early), picture(at)}},
		"in any order":         {at: at, images: []poll.Image{picture(at), picture(early)}},
		"some ms off":          {at: at, images: []poll.Image{picture(early), picture(at.Add(-99 * time.Millisecond))}},
		"a long interval":      {at: at.Add(59 * time.Second), interval: time.Minute, images: []poll.Image{missing(early), picture(at)}},
		"not the first":        {at: at, interval: time.Minute, images: []poll.Image{picture(early)}, want: source.ErrNoMedia},
		"another slot":         {at: at, images: []poll.Image{picture(at.Add(100 * time.Millisecond))}, want: source.ErrNoMedia},
		"no stream":            {stream: "cam-9", at: at, want: ErrUnknown, text: `unknown stream "cam-9": there is cam-1`},
		"no output":            {output: "c", at: at, want: ErrUnknown, text: `unknown output "c" of stream cam-1: there is a, b`},
		"future":               {at: begin.Add(time.Hour), want: source.ErrNoMedia, text: "in the future"},
		"too old":              {at: begin.Add(-25 * time.Hour), want: source.ErrNoMedia, text: "keeps its media for 24h"},
		"no media":             {at: at, images: []poll.Image{missing(early), missing(at)}, want: source.ErrNoMedia, text: "has none then"},
		"nothing":              {at: at, want: source.ErrNoMedia},
		"empty window":         {at: at, err: fmt.Errorf("404: %w", poll.ErrEmptyWindow), want: source.ErrNoMedia},
		"media error":          {at: at, images: []poll.Image{{Time: at, Err: fmt.Errorf("%w: 7", source.ErrMedia)}}, want: source.ErrMedia, text: "cam-1 at 1999-12-31T23:59:00.000Z: media error: 7"},
		"the service":          {at: at, images: []poll.Image{picture(early)}, err: service, want: service},
		"undecodable":          {at: at, images: []poll.Image{picture(at)}, bad: true, text: "undecodable (truncated)"},
		"use":                  {at: at, images: []poll.Image{picture(at)}, use: useless, want: useless},
		"beginning of the era": {at: time.Time{}, want: source.ErrNoMedia},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked []poll.Window
				r := &rig{bad: func(source.Slot) bool { return tt.bad }}
				r.build(t, 1, 0, func(_ *Options, streams []Stream) {
					streams[0].Fetcher = one{asked: &asked, images: tt.images, err: tt.err}
					streams[0].Poll.Retention = func() time.Duration { return 24 * time.Hour }
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
				for _, w := range asked {
					if w.Slots() != 2 || w.End != source.SlotAt(at) {
						t.Errorf("asked for %v", w)
					}
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

// deaf answers no window before its context ends.
type deaf struct{}

func (deaf) Images(ctx context.Context, _ poll.Window) iter.Seq2[poll.Image, error] {
	return func(yield func(poll.Image, error) bool) {
		<-ctx.Done()
		yield(poll.Image{}, ctx.Err())
	}
}

func TestFrameEndsWithThePipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.build(t, 1, 0, func(_ *Options, streams []Stream) { streams[0].Fetcher = deaf{} })
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

// TestFrameKeepsToTheBudget: what is being used counts, and those that find the
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
		r.streams["cam-1"].setUnsized(size)
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
		if n := r.InflightBytes(); using != 2 || n != 4*size {
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
			other.Name, other.Fetcher = "elsewhere", one{asked: new([]poll.Window)}
			o.Find = func(name string) (Stream, bool) { return other, name == other.Name }
		})
		end := r.running(t)
		output := r.streams[r.Names()[0]].Outputs[0].Name
		err := r.Frame(t.Context(), "elsewhere", time.Now(), output, func(*transform.Tensor) error { return nil })
		if !errors.Is(err, source.ErrNoMedia) {
			t.Errorf("got %v", err)
		}
		end()
	})
}
