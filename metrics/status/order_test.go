package status

import (
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/metrics"
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
	s.Outputs = func() []Output { return []Output{{Name: "detector", Subject: "cvf.t." + name + ".detector"}} }
	return s
}

func TestNaturalOrder(t *testing.T) {
	var all []*entry
	x := &index{}
	for _, name := range []string{"cam-10", "cam-9", "b", "cam-9a", "cam-09", "cam"} {
		s := &Stream{Stream: metrics.Stream{Name: name}}
		x.entries = append(x.entries, entry{Stream: s, waiting: true, is: health.StreamReport{State: health.OK}})
	}
	new(indexer).order(x)
	all = x.matching(query{})
	order(all, "name", false, time.Time{})
	var got []string
	for _, e := range all {
		got = append(got, e.Name)
	}
	if want := "b cam cam-09 cam-9 cam-9a cam-10"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}
