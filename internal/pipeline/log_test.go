package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/logging"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

// A logbook is what has been logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines counts the lines by message, each of which has to be JSON, and tells the most
// that a message has in a second.
func (l *logbook) lines(t *testing.T) (count map[string]int, most int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	count = map[string]int{}
	second := map[string]int{}
	for line := range strings.Lines(l.text.String()) {
		var one struct {
			Time time.Time
			Msg  string
		}
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		count[one.Msg]++
		key := one.Msg + one.Time.Truncate(time.Second).String()
		second[key]++
		most = max(most, second[key])
	}
	return count, most
}

// TestStormIsSummedUp: many streams lose every frame for a time.
func TestStormIsSummedUp(t *testing.T) {
	const streams, length = 40, 20 * time.Second
	broken := errors.New("broken \"pipe\"\n\x00")
	for name, tt := range map[string]struct {
		fault func(*rig, []Stream)
		want  map[string]int // the most lines of each kind
	}{
		"all well": {func(*rig, []Stream) {}, map[string]int{}},
		"refused by the broker": {
			func(r *rig, _ []Stream) {
				r.refuse = func(publish.Message) error { return &publish.DropError{Reason: publish.DropRefused, Err: broken} }
			},
			map[string]int{"slots without a tensor": logging.Most * 4, "more of the same, left out": 4},
		},
		"undecodable": {
			func(r *rig, _ []Stream) { r.bad = func(source.Slot) bool { return true } },
			map[string]int{"slots without a tensor": logging.Most * 4, "more of the same, left out": 4},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var book logbook
				log := logging.New(&book, logging.Options{JSON: true})
				r := &rig{}
				r.build(t, streams, 0, func(o *Options, all []Stream) {
					o.Log, o.Inflight = log, 64<<20
					tt.fault(r, all)
				})
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(length, cancel)
				if err := r.run(ctx); err != nil {
					t.Fatal(err)
				}
				logging.End(log)
				count, most := book.lines(t)
				for message, n := range count {
					if n > tt.want[message] {
						t.Errorf("%d lines of %q, at most %d are wanted", n, message, tt.want[message])
					}
				}
				if most > 2*logging.Most {
					t.Errorf("%d lines of a kind in a second", most)
				}
				if len(count) == 0 && len(tt.want) > 0 {
					t.Error("nothing was logged")
				}
			})
		})
	}
}

// TestLossesBeginAndEnd: slots that get no tensor have a line in the log when that begins, one
// a minute while it lasts, and one when it is over, which has the sum.
func TestLossesBeginAndEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		lasts time.Duration
		want  []string
	}{
		"one slot":    {200 * time.Millisecond, []string{"WARN slots without a tensor undecodable 1"}},
		"ten seconds": {10 * time.Second, []string{"WARN slots without a tensor undecodable 5", "INFO no more slots without a tensor undecodable 50"}},
		"100 seconds": {100 * time.Second, []string{
			"WARN slots without a tensor undecodable 5", "WARN slots without a tensor undecodable 300", "INFO no more slots without a tensor undecodable 500",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var book logbook
				r := &rig{}
				time.Sleep(50 * time.Millisecond) // so that no slot ends at the instant of a report
				begin := source.SlotAt(time.Now()).Add(10 * time.Second)
				r.bad = func(s source.Slot) bool { return s >= begin && s < begin.Add(tt.lasts) }
				r.build(t, 1, 3*time.Minute, func(o *Options, _ []Stream) {
					o.Log = slog.New(slog.NewJSONHandler(&book, nil))
				})
				if err := r.run(t.Context()); err != nil {
					t.Fatal(err)
				}
				var got []string
				for line := range strings.Lines(book.text.String()) {
					var one struct {
						Level, Msg, Outcome string
						Slots               int
					}
					if err := json.Unmarshal([]byte(line), &one); err != nil {
						t.Fatal(err)
					}
					if one.Outcome != "" {
						got = append(got, fmt.Sprintf("%s %s %s %d", one.Level, one.Msg, one.Outcome, one.Slots))
					}
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("%q, want %q", got, tt.want)
				}
			})
		})
	}
}

// TestResumingIsToldOnlyOfALaterPlace: a delivery that saves where a stream begins, before
// its first frame, does not make the first start look like a second one.
func TestResumingIsToldOnlyOfALaterPlace(t *testing.T) {
	for name, tt := range map[string]struct {
		later time.Duration
		told  int
	}{"the first start": {0, 0}, "another start": {time.Second, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, book, cursors := &rig{}, &logbook{}, &sourcetest.Cursors{}
				r.build(t, 1, 2*time.Second, func(o *Options, streams []Stream) {
					streams[0].Key = "cam-1"
					cursors.Set("cam-1", streams[0].From.Add(tt.later))
					o.Log = logging.New(book, logging.Options{JSON: true})
					o.Cursors = cursors
				})
				if err := r.run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if lines, _ := book.lines(t); lines["resuming at the saved cursor"] != tt.told {
					t.Errorf("logged %v, want it %d times", lines, tt.told)
				}
			})
		})
	}
}
