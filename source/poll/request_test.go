package poll

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// TestFramesWaitsUntilReadable has a check that fails for a minute.
func TestFramesWaitsUntilReadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		denied := errors.New("denied")
		c := &camera{fragment: time.Second, delay: always(0)}
		opts := auto()
		opts.To = source.SlotAt(begin.Add(10 * time.Second))
		opts.Check = func(context.Context) error {
			if time.Since(begin) < time.Minute {
				return denied
			}
			return nil
		}
		l := source.NewLedger(testGrid(t), source.SlotAt(begin))
		var pauses []time.Duration
		last := begin
		for f, err := range New(c, l, opts).Frames(t.Context()) {
			switch {
			case err == nil:
				l.Resolve(f.Slot, source.Published)
			case !errors.Is(err, denied) || c.requests > 0:
				t.Errorf("error %v after %d requests", err, c.requests)
			default:
				pauses = append(pauses, time.Since(last))
				last = time.Now()
			}
		}
		want := []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second}
		for i, w := range want {
			if len(pauses) <= i || pauses[i] < w/2 || pauses[i] > w*3/2 {
				t.Fatalf("pauses %v, want about %v", pauses, want)
			}
		}
		if got := l.Stats().Ended[source.Published]; got != 50 {
			t.Errorf("%d of 50 published", got)
		}
	})
}

// TestFramesStopsWaiting: neither the end of the context nor that of the loop is held
// back by a check.
func TestFramesStopsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := auto()
		opts.Check = func(context.Context) error { return source.ErrRefused }
		p := New(&camera{fragment: time.Second, delay: always(0)}, source.NewLedger(testGrid(t), 0), opts)
		for _, err := range p.Frames(t.Context()) {
			if !errors.Is(err, source.ErrRefused) {
				t.Error(err)
			}
			break
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		begin := time.Now()
		for _, err := range p.Frames(ctx) {
			if !errors.Is(err, source.ErrRefused) {
				t.Error(err)
			}
		}
		if d := time.Since(begin); d != 20*time.Second {
			t.Errorf("stopped after %v", d)
		}
	})
}

// TestFetched: the time in which the receiver worked does not count, and an answer
// without media is one.
func TestFetched(t *testing.T) {
	reset := errors.New("connection reset")
	c := &canned{images: []Image{{Time: time.UnixMilli(200), Data: []byte("a")}, {Time: time.UnixMilli(400), Data: []byte("b")}}}
	for name, tc := range map[string]struct{ err, want error }{
		"answered":     {},
		"failed":       {reset, reset},
		"empty window": {fmt.Errorf("404: %w", ErrEmptyWindow), nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &canned{images: c.images, err: tc.err}
				fetched, want := 0, tc.want
				p := New(c, source.NewLedger(testGrid(t), 0), Options{Fetched: func(took time.Duration, err error) {
					fetched++
					if took != 0 || !errors.Is(err, want) {
						t.Errorf("a request took %v: %v", took, err)
					}
				}})
				for _, err := range p.images(t.Context(), Window{Start: 200, End: 400, Interval: step}) {
					if !errors.Is(err, tc.err) && err != nil {
						t.Error(err)
					}
					time.Sleep(time.Second)
				}
				want = nil
				for _, err := range p.images(t.Context(), Window{Start: 200, End: 400, Interval: step}) {
					if err != nil {
						t.Error(err)
					}
					break // an abandoned request is one, too
				}
				if fetched != 2 {
					t.Errorf("told of %d requests", fetched)
				}
			})
		})
	}
}

// broken answers break off after some pictures.
type broken struct {
	*camera
	after int
}

func (b broken) Images(ctx context.Context, w Window) iter.Seq2[Image, error] {
	return func(yield func(Image, error) bool) {
		pictures := 0
		for img, err := range b.camera.Images(ctx, w) {
			if pictures == b.after {
				yield(Image{}, errors.New("the answer breaks off"))
				return
			}
			if len(img.Data) > 0 {
				pictures++
			}
			if !yield(img, err) {
				return
			}
		}
	}
}

// TestBrokenAnswersLeadOn: the pause after a failure does not grow while each answer brings
// something new before it breaks off.
func TestBrokenAnswersLeadOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &camera{fragment: 2 * time.Second, delay: always(time.Second)}
		begin := time.Now()
		pollFor(t, broken{c, 15}, -time.Hour, 5*time.Minute, auto())
		if took := time.Since(begin); took > 5*time.Minute {
			t.Errorf("5 minutes of media took %v", took)
		}
	})
}
