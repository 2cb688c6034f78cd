package poll

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// canned answers every window with the given images, then an error.
type canned struct {
	asked  []Window
	images []Image
	err    error
}

func (c *canned) Images(_ context.Context, w Window) iter.Seq2[Image, error] {
	return func(yield func(Image, error) bool) {
		c.asked = append(c.asked, w)
		for _, img := range c.images {
			if !yield(img, nil) {
				return
			}
		}
		if c.err != nil {
			yield(Image{}, c.err)
		}
	}
}

// TestFrameIsPaidFor: what a frame costs is told before it is asked for, and a frame that
// must not be paid for is not asked for.
func TestFrameIsPaidFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := source.SlotAt(time.Now().Add(-time.Minute))
		c := &canned{images: []Image{{Time: at.Time(), Data: []byte("picture")}}}
		spent, broke := 0, errors.New("broke")
		grid, err := source.NewGrid(source.MinInterval)
		if err != nil {
			t.Fatal(err)
		}
		p := New(c, source.NewLedger(grid, at), Options{Spend: func(images int) error {
			if spent > 0 {
				return broke
			}
			spent += images
			return nil
		}})
		if _, err := p.Frame(t.Context(), at); err != nil || spent != 2 {
			t.Errorf("%d images, %v", spent, err)
		}
		if _, err := p.Frame(t.Context(), at); !errors.Is(err, broke) {
			t.Errorf("got %v", err)
		}
		if w := c.asked[0]; len(c.asked) != 1 || w.End.Sub(w.Start)/w.Interval+1 != 2 {
			t.Errorf("asked for %+v", c.asked)
		}
	})
}

func TestFrame(t *testing.T) {
	now := source.SlotAt(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) // synctest's
	at := now.Add(-time.Minute)
	picture := func(s source.Slot) Image { return Image{Time: s.Time(), Data: fmt.Append(nil, s)} }
	missing := func(s source.Slot) Image { return Image{Time: s.Time(), Err: source.ErrNoMedia} }
	early := at.Add(-MaxFragment)
	service := errors.New("500")
	for name, tc := range map[string]struct {
		at       source.Slot
		interval time.Duration
		newest   source.Slot // published
		images   []Image
		err      error // of the fetcher
		want     error
		text     string
		unasked  bool
	}{
		"found":           {at: at, images: []Image{missing(early), picture(at)}},
		"in any order":    {at: at, images: []Image{picture(at), picture(early)}},
		"some ms off":     {at: at, images: []Image{picture(early), picture(at.Add(-99 * time.Millisecond))}},
		"a long interval": {at: at, interval: time.Minute, images: []Image{missing(early), picture(at)}},
		"not the first":   {at: at, interval: time.Minute, images: []Image{picture(early)}, want: source.ErrNoMedia},
		"another slot":    {at: at, images: []Image{picture(at.Add(100 * time.Millisecond))}, want: source.ErrNoMedia},
		"in the future": {
			at: now.Add(time.Hour), unasked: true, want: source.ErrNoMedia,
			text: "no media at 2000-01-01T01:00:00.000Z, which is in the future",
		},
		"too old": {
			at: now.Add(-25 * time.Hour), unasked: true, want: source.ErrNoMedia,
			text: "no media at 1999-12-30T23:00:00.000Z: the stream keeps its media for 24h0m0s",
		},
		"no media": {
			at: at, images: []Image{missing(early), missing(at)}, want: source.ErrNoMedia,
			text: "no media at 1999-12-31T23:59:00.000Z, or not yet",
		},
		"after the newest": {
			at: at, newest: at - 200, want: source.ErrNoMedia,
			text: "or not yet: the newest tensor is of 1999-12-31T23:58:59.800Z",
		},
		"before the newest": {
			at: at, newest: at + 200, want: source.ErrNoMedia,
			text: "no media at 1999-12-31T23:59:00.000Z",
		},
		"empty window": {at: at, err: fmt.Errorf("404: %w", ErrEmptyWindow), want: source.ErrNoMedia},
		"media error": {
			at: at, images: []Image{{Time: at.Time(), Err: fmt.Errorf("%w: 7", source.ErrMedia)}}, want: source.ErrMedia,
			text: "1999-12-31T23:59:00.000Z: media error: 7",
		},
		"the service fails": {at: at, images: []Image{picture(early)}, err: service, want: service, text: "500"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				grid, err := source.NewGrid(max(tc.interval, step))
				if err != nil {
					t.Fatal(err)
				}
				l := source.NewLedger(grid, now.Add(-time.Hour))
				l.Extend(now)
				if tc.newest != 0 {
					l.Resolve(tc.newest, source.Published)
				}
				before := l.Stats()
				c := &canned{images: tc.images, err: tc.err}
				p := New(c, l, Options{Stream: "cam-1", Retention: func() time.Duration { return 24 * time.Hour }})
				f, err := p.Frame(t.Context(), tc.at)
				switch {
				case tc.want != nil:
					if !errors.Is(err, tc.want) || !strings.HasSuffix(err.Error(), tc.text) || f.Data != nil {
						t.Errorf("got %+v, %v", f, err)
					}
				case err != nil:
					t.Error(err)
				case f.Stream != "cam-1" || f.Slot != tc.at || string(f.Data) != fmt.Sprint(source.SlotAt(f.Capture)):
					t.Errorf("got %+v", f)
				}
				if tc.unasked != (len(c.asked) == 0) {
					t.Errorf("asked for %v", c.asked)
				}
				for _, w := range c.asked {
					if w.Slots() != 2 || w.End != tc.at || w.End.Sub(w.Start) != MaxFragment {
						t.Errorf("asked for %v", w)
					}
				}
				if l.Stats() != before {
					t.Error("the ledger has changed")
				}
			})
		})
	}
}
