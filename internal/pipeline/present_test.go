package pipeline

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/logging"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

// TestTimeGoesBack has the clock be an hour ahead for a while. It is told once, and the ledger
// and the saved cursor are put right.
func TestTimeGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		r := &rig{}
		book := &logbook{}
		cursors := &sourcetest.Cursors{}
		r.build(t, 1, time.Minute, func(o *Options, streams []Stream) {
			streams[0].To, streams[0].Key = 0, "cam-1"
			streams[0].Open = live("cam-1", source.SlotAt(begin.Add(time.Minute)), nil)
			o.Log = logging.New(book, logging.Options{JSON: true})
			o.Cursors = cursors
			o.Now = func() time.Time {
				now := time.Now()
				if after := now.Sub(begin); after > 10*time.Second && after < 30*time.Second {
					return now.Add(time.Hour)
				}
				return now
			}
		})
		wait := time.AfterFunc(20*time.Second+time.Millisecond, func() {
			if st := r.Streams()[0].Stats; st.Pending < 17000 {
				t.Errorf("while the clock is wrong: %+v", st)
			}
		})
		defer wait.Stop()
		time.AfterFunc(31*time.Second+time.Millisecond, func() {
			if st := r.Streams()[0].Stats; st.Pending > 1 || st.Expected != 156 {
				t.Errorf("when it is right again: %+v", st)
			}
		})
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(r.slots(t, "cam-1.a")); n != 300 {
			t.Errorf("%d slots were published", n)
		}
		if got, want := saved(cursors, "cam-1"), source.SlotAt(begin.Add(time.Minute)); got != want {
			t.Errorf("saved %v, want %v", got, want)
		}
		const warning = "the stream was ahead of the service's time"
		if text := book.text.String(); strings.Count(text, warning) != 1 || strings.Count(text, `"ahead":`) != 1 {
			t.Errorf("logged %s", text)
		}
	})
}

// TestCursorGoesBack: a cursor in the future is taken back once it is known to be, and saved.
func TestCursorGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := source.SlotAt(time.Now())
		r := &rig{}
		cursors := &sourcetest.Cursors{}
		cursors.Set("cam-1", begin.Add(24*time.Hour))
		r.build(t, 1, time.Minute, func(o *Options, streams []Stream) {
			streams[0].Key = "cam-1"
			open := streams[0].Open
			streams[0].Open = func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
				if !l.Begin(begin) {
					t.Error("the ledger cannot begin")
				}
				return open(l, fetched)
			}
			o.Cursors = cursors
		})
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(r.slots(t, "cam-1.a")); n != 300 {
			t.Errorf("%d slots were published", n)
		}
		if got, want := saved(cursors, "cam-1"), begin.Add(time.Minute); got != want {
			t.Errorf("saved %v, want %v", got, want)
		}
	})
}

// TestStaleByTheServicesTime: whether a frame is too old is a matter of the clock of the
// slots, and so is for how long its message is of use.
func TestStaleByTheServicesTime(t *testing.T) {
	for name, tt := range map[string]struct {
		service time.Duration // from the host's time to the service's
		media   time.Duration // from the host's time to that of the media
		want    source.Outcome
	}{
		"by the host's clock it is new":        {10 * time.Minute, 0, source.Stale},
		"by the host's clock it is too old":    {-10 * time.Minute, -10 * time.Minute, source.Published},
		"by the host's clock it has yet to be": {10 * time.Minute, 10 * time.Minute, source.Published},
		"by either clock it is new":            {0, 0, source.Published},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const length = 10 * time.Second
				r := &rig{}
				r.build(t, 1, 0, func(o *Options, streams []Stream) {
					o.Now = func() time.Time { return time.Now().Add(tt.service) }
					s := &streams[0]
					s.Freshness, s.From = 5*time.Second, source.SlotAt(time.Now().Add(tt.media))
					s.To = s.From.Add(length)
					s.Open = func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
						f := live(s.Name, s.To, nil)(l, fetched).(*sourcetest.Feed)
						f.Now = func() time.Time { return time.Now().Add(tt.media) }
						return f
					}
				})
				if err := r.run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if st := r.Streams()[0].Stats; st.Ended[tt.want] != 50 || st.Expected != 50 || st.Rewinds != 0 {
					t.Errorf("%+v", st)
				}
				for _, m := range r.out.Received("cam-1.a") {
					if left := time.Until(m.Expires); left > 5*time.Second || left < -5*time.Second {
						t.Errorf("a message is of use for another %v", left)
					}
				}
			})
		})
	}
}
