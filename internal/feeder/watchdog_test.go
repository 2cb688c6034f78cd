package feeder

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/source"
)

// TestManyStreamsShareALine: what begins, or is over, for many streams at once is a line of the
// log, and one that is alone is named.
func TestManyStreamsShareALine(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for n, want := range map[int][]string{
		1:    {"level=WARN reason=unreadable stream=cam-0 err=\"no route\"", "level=INFO reason=unreadable stream=cam-0 lasted=12s"},
		1000: {"level=WARN reason=unreadable streams=1000 names=cam-0,cam-1,cam-2 err=\"no route\"", "level=INFO reason=unreadable streams=1000 names=cam-0,cam-1,cam-2 lasted=12s"},
	} {
		s := health.Snapshot{At: begin, Now: begin, Opened: true}
		for i := range n {
			start := source.SlotAt(begin)
			s.Streams = append(s.Streams, health.Stream{Name: fmt.Sprint("cam-", i), Interval: time.Second, Stats: source.Stats{Start: start, Cursor: start}})
		}
		var log bytes.Buffer
		w := newWatchdog(health.Any, func() health.Snapshot { return s }, slog.New(slog.NewTextHandler(&log, nil)))
		for second := range 60 {
			s.At, s.Now = s.At.Add(time.Second), s.Now.Add(time.Second)
			for i := range s.Streams {
				st := &s.Streams[i]
				st.Problem = nil
				if second >= 10 && second < 18 {
					st.Problem = errors.New("no route")
				}
				st.Stats.Ended[source.Published]++
				st.Stats.Cursor = st.Stats.Cursor.Add(time.Second)
			}
			w.look()
		}
		var got []string
		for line := range strings.Lines(log.String()) {
			level, rest, _ := strings.Cut(line[strings.Index(line, "level="):], " ")
			got = append(got, level+" "+strings.TrimSpace(rest[strings.Index(rest, "reason="):]))
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%d streams: logged\n%s\nwant\n%s", n, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}
