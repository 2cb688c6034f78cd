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

func TestStates(t *testing.T) {
	good := strings.Repeat("P", 60)
	for _, tc := range []struct {
		name   string
		slots  string
		change func(*Stream)
		after  time.Duration // the cursor
		away   bool          // NATS
		want   state
		reason string
		since  source.Slot
	}{
		{name: "well", slots: good, after: 3 * time.Second, want: stateOK},
		{name: "new", want: stateStarting, since: at, reason: "waiting for the first frames"},
		{name: "gap", slots: good + "NNPP", after: 3 * time.Second, want: stateGaps, since: at + 60_000, reason: "2 slots lost in the last 10 min: no media"},
		{name: "one slot", slots: good + "UPP", after: 3 * time.Second, want: stateGaps, since: at + 60_000, reason: "1 slot lost in the last 10 min: undecodable"},
		{name: "gap long ago", slots: good + "N" + good + good, after: 3 * time.Second, want: stateOK},
		{name: "dark", slots: good + strings.Repeat("N", 20), after: 3 * time.Second, want: stateNoFrames, since: at + 59_000, reason: "no media"},
		{name: "never light", slots: strings.Repeat("N", 20), after: 3 * time.Second, want: stateNoFrames, since: at, reason: "no media"},
		{name: "behind", slots: good, after: time.Hour, want: stateCatchingUp, reason: "60 min behind"},
		{name: "days behind", slots: good, after: 72 * time.Hour, want: stateCatchingUp, reason: "2026-01-02 03:05:05 UTC, 3 days behind"},
		{
			name: "stalled", slots: good, after: time.Minute, want: stateStalled, since: at + 5000,
			change: func(s *Stream) { s.StalledSince = (at + 5000).Time() }, reason: "no slot has ended",
		},
		{name: "broker away", slots: good, after: time.Minute, away: true, want: stateWaiting, reason: "NATS is not connected", change: func(s *Stream) { s.StalledSince = at.Time() }},
		{
			name: "refused", slots: good, after: time.Minute, want: stateUnreadable, since: at + 7000, reason: "no permission",
			change: func(s *Stream) { s.Problem, s.ProblemSince = "no permission", (at + 7000).Time() },
		},
		{name: "range", slots: good, after: time.Hour, want: stateDone, change: func(s *Stream) { s.To = s.Cursor }, reason: "all slots up to 03:05:05 UTC"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := example(t, "cam", tc.slots)
			if tc.change != nil {
				tc.change(&s)
			}
			now := s.Cursor.Add(tc.after)
			v := conditionOf(s, s.History.summary(min(now, s.Cursor.Add(time.Minute))), now.Time(), !tc.away)
			if v.state != tc.want || !strings.Contains(v.reason, tc.reason) || stamp(v.since) != since(tc.since) {
				t.Errorf("%s (%s) since %s, want %s (%s) since %s", v.state, v.reason, stamp(v.since), tc.want, tc.reason, since(tc.since))
			}
		})
	}
}

func since(s source.Slot) string {
	if s == 0 {
		return ""
	}
	return s.String()
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 1500 * time.Millisecond: "1.5 s", 42 * time.Second: "42 s", 10 * time.Minute: "10 min",
		3 * time.Hour: "3 h", 150 * time.Minute: "2.5 h", 80 * time.Hour: "3 days",
	} {
		if got := short(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
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
