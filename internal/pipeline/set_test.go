package pipeline

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

// jam is a broker that never takes what one stream publishes.
type jam struct {
	*rig
	stream string
}

func (j jam) Publish(ctx context.Context, m publish.Message) error {
	if strings.HasPrefix(m.Subject, j.stream+".") {
		return stuck{}.Publish(ctx, m)
	}
	return j.rig.Publish(ctx, m)
}

// TestStreamIsReplaced removes a stream beside one whose broker takes nothing, and
// adds it again at its cursor.
func TestStreamIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{decode: func(source.Slot) time.Duration { return 500 * time.Millisecond }}
		cursors := &sourcetest.Cursors{}
		var streams []Stream
		r.build(t, 2, 0, func(o *Options, s []Stream) {
			s[0].Key, s[1].Key = "one", "two"
			streams = s
			o.Delivery = jam{r, "cam-1"}
			o.Cursors = cursors
			o.Inflight = 1 << 30
			o.Drain = 20 * time.Second
			r.follow = func(ctx context.Context, set Set) {
				time.Sleep(10 * time.Second)
				begin := time.Now()
				cursor, was := set.Remove(ctx, "cam-2")
				if d := time.Since(begin); !was || d > 2*time.Second {
					t.Errorf("Remove = %v, %v after %v", cursor, was, d)
				}
				if got := saved(cursors, "two"); got != cursor {
					t.Errorf("saved %v, want %v", got, cursor)
				}
				published := r.slots(t, "cam-2.a")
				if last := published[len(published)-1]; cursor != last.Add(source.MinInterval) {
					t.Errorf("the cursor is %v, and the last tensor of %v", cursor, last)
				}
				s := streams[1]
				s.From = cursor
				set.Add(s)
				time.Sleep(10 * time.Second)
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Second, cancel)
		if err := r.run(ctx); err != nil {
			t.Fatal(err)
		}
		got := r.slots(t, "cam-2.a")
		for i, s := range got[1:] {
			if s != got[i].Add(source.MinInterval) {
				t.Errorf("%v came after %v", s, got[i])
			}
		}
		if len(got) < 40 { // the workers manage six a second of both streams
			t.Errorf("%d slots in 20 s", len(got))
		}
	})
}

// TestRemoveWithoutCursors removes a stream where none are kept.
func TestRemoveWithoutCursors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.build(t, 2, 0, nil)
		r.follow = func(ctx context.Context, set Set) {
			time.Sleep(10 * time.Second)
			if cursor, was := set.Remove(ctx, "cam-2"); !was || cursor == 0 {
				t.Errorf("Remove = %v, %v", cursor, was)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Second, cancel)
		if err := r.run(ctx); err != nil {
			t.Fatal(err)
		}
		if n := len(r.Streams()); n != 1 {
			t.Errorf("%d streams are left", n)
		}
	})
}

// TestRemoveGivesUp removes a stream whose broker takes nothing.
func TestRemoveGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		cursors := &sourcetest.Cursors{}
		var from source.Slot
		r.build(t, 2, 0, func(o *Options, s []Stream) {
			s[0].Key, from = "one", s[0].From
			o.Delivery = jam{r, "cam-1"}
			o.Cursors = cursors
			o.Drain = 20 * time.Second
			r.follow = func(ctx context.Context, set Set) {
				time.Sleep(10 * time.Second)
				soon, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				begin := time.Now()
				if cursor, was := set.Remove(soon, "cam-1"); !was || cursor != from || time.Since(begin) != time.Second {
					t.Errorf("Remove = %v, %v after %v; want %v", cursor, was, time.Since(begin), from)
				}
				if _, was := set.Remove(ctx, "cam-1"); was {
					t.Error("removed twice")
				}
				time.Sleep(10 * time.Second)
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(30*time.Second, cancel)
		if err := r.run(ctx); err != nil {
			t.Fatal(err)
		}
		if n := len(r.Streams()); n != 1 {
			t.Errorf("%d streams are left", n)
		}
		if got := saved(cursors, "one"); got != from {
			t.Errorf("saved %v, want %v: what was given up stays to be asked for", got, from)
		}
		if slots := r.slots(t, "cam-2.a"); !slices.IsSorted(slots) || len(slots) < 60 {
			t.Errorf("%d slots of the other stream", len(slots))
		}
	})
}

// slowFlush are cursors whose Flush takes a while, as a disk may.
type slowFlush struct{ *sourcetest.Cursors }

func (c slowFlush) Flush(ctx context.Context, keys ...string) error {
	time.Sleep(200 * time.Millisecond)
	return c.Cursors.Flush(ctx, keys...)
}

// TestRemovedCursorStands removes a stream while the cursors of all streams are being
// saved: what was noted before the removal must not replace the last cursor.
func TestRemovedCursorStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		cursors := &sourcetest.Cursors{}
		var confirms atomic.Int32
		r.away = func() error {
			// The one of the report at 5 s takes longer than that of Remove, which begins later.
			if confirms.Add(1) == 5 {
				time.Sleep(800 * time.Millisecond)
			}
			return nil
		}
		r.build(t, 1, 0, func(o *Options, s []Stream) {
			s[0].Key = "one"
			o.Cursors = slowFlush{cursors}
			r.follow = func(ctx context.Context, set Set) {
				time.Sleep(5700 * time.Millisecond)
				cursor, was := set.Remove(ctx, "cam-1")
				time.Sleep(5 * time.Second)
				if got := saved(cursors, "one"); !was || got != cursor {
					t.Errorf("saved %v, want %v", got, cursor)
				}
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		_ = r.run(ctx)
	})
}

// untold is a broker that takes no gap.
type untold struct{ *rig }

func (untold) Gap(ctx context.Context, _ publish.Gap, _ []publish.Route) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestRemoveLeavesGaps removes a stream that others have by now: its gaps are for them to
// tell, and must not be waited for.
func TestRemoveLeavesGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.build(t, 1, 0, func(o *Options, s []Stream) {
			s[0].fails(func() error { return source.ErrNoMedia })
			o.Delivery = untold{r}
			r.follow = func(ctx context.Context, set Set) {
				time.Sleep(5 * time.Second)
				ended, cancel := context.WithCancel(ctx)
				cancel()
				begin := time.Now()
				if cursor, was := set.Remove(ended, "cam-1"); !was || cursor != s[0].From || time.Since(begin) > 0 {
					t.Errorf("Remove = %v, %v after %v, want %v at once", cursor, was, time.Since(begin), s[0].From)
				}
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_ = r.run(ctx)
	})
}
