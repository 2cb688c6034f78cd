package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// overWithin is how soon after a fault all that the log has begun to tell is over: that NATS
// has lost something is told for a minute.
const overWithin = 90 * time.Second

// A line is one of a feeder's log.
type line struct {
	Level, Msg, Reason, Stream, Names, Connection, Outcome, What string
}

// streams returns those that a line is about, "" for the process.
func (l line) streams() []string { return strings.Split(l.Stream+l.Names, ",") }

// pairs are the lines without a reason that tell that something begins, and those that tell
// that it is over.
var pairs = map[string][]string{
	"NATS is not reachable, retrying": {"NATS is connected"},
	"NATS has revoked permissions: nothing that needs them is published until they are granted again": {"NATS has granted the permissions again"},
	"the cursors could not be saved: after a restart, slots may be published again": {
		"the cursors are saved again", "there are no cursors to save any more: the streams run elsewhere, or have ended",
	},
	"slots without a tensor": {"no more slots without a tensor"},
}

// of returns what a line is about, and whether it tells that this begins or is over. One that
// does neither tells of an event.
func (l line) of() (what string, begins, over bool) {
	if l.Reason != "" {
		return l.Reason, l.Level != "INFO", l.Level == "INFO"
	}
	for begin, ends := range pairs {
		over := slices.Contains(ends, l.Msg)
		if l.Msg == begin || over {
			return strings.Join([]string{begin, l.Connection, l.Stream, l.Outcome}, " "), !over, over
		}
	}
	return strings.Join([]string{l.Msg, l.Connection, l.Stream, l.What}, " "), false, false
}

// A tale is what a feeder's log says of one thing.
type tale struct {
	begins, ends, events int
	reason, process      bool
	open                 map[string]bool // for which streams it has begun, and is not over
	twice                bool            // it has begun, or was over, twice in a row
}

// mark notes where the logs end at present.
func (y *yard) mark() {
	for _, p := range y.feeders {
		y.logged = append(y.logged, len(p.out.String()))
	}
}

// tales returns what the logs say since mark, by feeder and what it is about. Lines of
// level INFO count only where they tell that something is over.
func (y *yard) tales() map[string]*tale {
	all := map[string]*tale{}
	for i, p := range y.feeders {
		feeder := fmt.Sprintf("feeder-%d: ", i)
		for text := range strings.SplitSeq(p.out.String()[y.logged[i]:], "\n") {
			var l line
			if json.Unmarshal([]byte(text), &l) != nil {
				continue
			}
			if l.Msg == "stream removed" { // so nothing more is told of it
				for what, t := range all {
					if strings.HasPrefix(what, feeder) {
						delete(t.open, l.Stream)
					}
				}
			}
			what, begins, over := l.of()
			if l.Level == "INFO" && !over {
				continue
			}
			t := all[feeder+what]
			if t == nil {
				t = &tale{reason: l.Reason != "", open: map[string]bool{}}
				all[feeder+what] = t
			}
			t.note(l, begins, over)
		}
	}
	return all
}

// note takes note of another line.
func (t *tale) note(l line, begins, over bool) {
	switch {
	case begins:
		t.begins++
	case over:
		t.ends++
	default:
		t.events++
		return
	}
	for _, stream := range l.streams() {
		t.process = stream == ""
		// What is over may have begun before the fault, or on a stream that was another replica's since.
		t.twice = t.twice || begins && t.open[stream] || over && t.process && t.begins > 0 && !t.open[stream]
		if t.open[stream] = true; over {
			delete(t.open, stream)
		}
	}
}

// allIsOver returns what the logs say is not over yet. Slots that were lost within a second
// have a single line.
func (y *yard) allIsOver() string {
	var open []string
	for what, t := range y.tales() {
		if len(t.open) > 0 && (t.reason || !strings.Contains(what, "slots without a tensor")) {
			open = append(open, what)
		}
	}
	slices.Sort(open)
	return strings.Join(open, "; ")
}

// checkLog checks that a fault has a line when it begins and one when it is over, for each
// cause and process, and that nothing is said again and again. What strikes twice, or while a
// server is started again, may be told twice.
func (y *yard) checkLog(lasted time.Duration) {
	y.t.Helper()
	tales := y.tales()
	told := false
	for what, t := range tales {
		told = told || t.begins > 0 && t.ends > 0
		most := 1 + y.kills/2
		if !t.process { // not all streams notice within the same second
			most *= len(matrixSubjects)
		}
		if !t.reason { // details, of single connections, streams and messages
			most = 2 + y.kills + int(lasted/time.Minute)
		}
		if n := max(t.begins, t.events); n > most {
			y.t.Errorf("logged %d times, at most %d are wanted: %s", n, most, what)
		}
		if t.reason && t.twice {
			y.t.Errorf("begins %d times and is over %d times, not in turns: %s", t.begins, t.ends, what)
		}
	}
	quiet := y.fault.quiet != nil && y.fault.quiet(y.mode)
	if said := strings.Join(slices.Sorted(maps.Keys(tales)), "; "); *matrixAll && told == quiet {
		y.t.Errorf("told with a line at the beginning and one at the end: %v, want %v: %s", told, !quiet, said)
	}
}
