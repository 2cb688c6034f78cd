package status

import (
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// example returns a stream with an interval of a second. Its slots have ended as the
// letters say, one for each slot from the start.
func example(t testing.TB, name, all string) Stream {
	t.Helper()
	s := Stream{Interval: time.Second, Grace: 10 * time.Second}
	s.Name, s.Lag, s.Start = name, 2*time.Second, at
	s.History = NewHistory(grid(t, time.Second), at)
	s.Cursor = fill(t, s.History, at, all)
	s.Expected, s.Pending = uint64(len(all))+3, 3
	for i, l := range []byte(all) {
		o := source.Outcome(strings.IndexByte(string(letters[:]), l))
		s.Ended[o]++
		if o == source.Published {
			s.Newest = at.Add(time.Duration(i) * time.Second)
		}
	}
	s.Outputs = []Output{{Name: "detector", Subject: "cvf.t." + name + ".detector"}}
	return s
}

func TestNaturalOrder(t *testing.T) {
	rows := []row{{Stream: "cam-10"}, {Stream: "cam-9"}, {Stream: "b"}, {Stream: "cam-9a"}, {Stream: "cam-09"}, {Stream: "cam"}}
	order(rows, "name", false)
	var got []string
	for _, r := range rows {
		got = append(got, r.Stream)
	}
	if want := "b cam cam-09 cam-9 cam-9a cam-10"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}
