package health

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/internal/sanitize"
	"github.com/cvfeeder/cvfeeder/source"
)

var (
	began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	start = source.SlotAt(began)
)

// A run is a machine whose snapshots are a second apart.
type run struct {
	t   *testing.T
	m   *Machine
	now Snapshot
	// cams are what happens to the streams in each second.
	cams []func(*Stream)
	last Report
	log  []string
}

// newRun returns a run of streams to which nothing happens yet.
func newRun(t *testing.T, n Need, streams int) *run {
	r := &run{t: t, m: New(n), now: Snapshot{At: began, Now: began, Opened: true}}
	for i := range streams {
		r.now.Streams = append(r.now.Streams, Stream{
			Name: fmt.Sprintf("cam-%d", i+1), Interval: time.Second, Grace: 10 * time.Second,
			Stats: source.Stats{Start: start, Cursor: start},
			Feed:  source.FeedState{Lag: 2 * time.Second, Wait: 2 * time.Minute},
		})
		r.cams = append(r.cams, flows)
	}
	return r
}

// ends ends the next slot of a stream.
func ends(o source.Outcome) func(*Stream) {
	return func(s *Stream) {
		s.Stats.Expected++
		s.Stats.Ended[o]++
		if o == source.Published {
			s.Stats.Newest = s.Stats.Cursor
		}
		s.Stats.Cursor += 1000
	}
}

// flows publishes a slot, and stands ends none.
func flows(s *Stream)  { ends(source.Published)(s) }
func stands(s *Stream) { s.Stats.Expected++; s.Stats.Pending++ }

// fails returns what happens to a stream that cannot be read.
func fails(err error) func(*Stream) { return func(s *Stream) { stands(s); s.Problem = err } }

// pass lets some time pass.
func (r *run) pass(d time.Duration) Report {
	for range int(d / time.Second) {
		r.now.At, r.now.Now = r.now.At.Add(time.Second), r.now.Now.Add(time.Second)
		r.now.Streams = slices.Clone(r.now.Streams)
		for i := range r.now.Streams {
			r.now.Streams[i].Problem = nil
			r.cams[i](&r.now.Streams[i])
		}
		var changes []Change
		r.last, changes = r.m.Observe(r.now)
		for _, c := range changes {
			word := "begins"
			if c.Over {
				word = "ends"
			}
			r.log = append(r.log, strings.TrimSpace(c.Stream+" "+string(c.Code)+" "+word))
		}
	}
	return r.last
}

// is checks the last report: whether it is ready, and all reasons with their streams.
func (r *run) is(ready bool, want ...string) {
	r.t.Helper()
	var got []string
	for _, reason := range r.last.Reasons {
		got = append(got, string(reason.Code))
	}
	for name, s := range r.last.Streams {
		for _, reason := range s.Reasons {
			got = append(got, name+" "+string(reason.Code))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if r.last.Ready != ready || !slices.Equal(got, want) {
		r.t.Errorf("after %v: ready %v with %q, want %v with %q", r.now.At.Sub(began), r.last.Ready, got, ready, want)
	}
}

// TestStreamsReasons: whatever keeps the only stream from flowing makes the process not
// ready, under its own name, and it is over when the stream flows again.
func TestStreamsReasons(t *testing.T) {
	for _, tc := range []struct {
		code  Code
		state State
		now   func(*Stream)
		all   func(*Snapshot) // what is so of the process meanwhile
		with  []string        // other reasons
		ready bool            // although the stream does not flow, or because it does
	}{
		{code: Refused, state: CannotBeRead, now: fails(fmt.Errorf("stream cam-1: %w", source.ErrRefused))},
		{code: StreamGone, state: CannotBeRead, now: fails(source.ErrNoStream)},
		{code: Throttled, state: CannotBeRead, now: fails(source.ErrThrottled)},
		{code: EndpointDoubted, state: CannotBeRead, now: fails(source.ErrUnconfirmed)},
		{code: Unreadable, state: CannotBeRead, now: fails(errors.New("connection reset"))},
		{code: Stalled, state: NoSlotEnds, now: stands},
		{code: CameraClock, state: NoSlotEnds, now: func(s *Stream) { s.Feed.Unknown = true }},
		{code: CameraSilent, state: NoFrames, now: ends(source.NoMedia)},
		{code: MediaError, state: NoFrames, now: ends(source.MediaError)},
		{code: Undecodable, state: NoFrames, now: ends(source.Undecodable)},
		{code: Stale, state: NoFrames, now: ends(source.Stale)},
		{code: Dropped, state: NoFrames, now: ends(source.Dropped)},
		{code: NATSAway, state: WaitingForNATS, now: stands, with: []string{"nats_away"}, all: func(s *Snapshot) { s.Down, s.Deaf = []string{"data"}, true }},
		{code: StreamFull, state: NoSlotEnds, now: stands, with: []string{"stream_full"}, all: func(s *Snapshot) { s.Troubles = []Trouble{{StreamFull, s.At, ""}} }},
		{code: NotStored, state: NoSlotEnds, now: stands, with: []string{"not_stored"}, all: func(s *Snapshot) { s.Troubles = []Trouble{{NotStored, s.At, ""}} }},
	} {
		t.Run(string(tc.code), func(t *testing.T) {
			r := newRun(t, Any, 1)
			r.pass(time.Minute)
			r.is(true)
			r.cams[0] = func(s *Stream) {
				tc.now(s)
				if tc.all != nil {
					tc.all(&r.now)
				}
			}
			r.pass(4 * time.Minute)
			is := r.last.Streams["cam-1"]
			if got, _ := is.Reason(); got.Code != tc.code || is.State != tc.state || is.Flows || r.last.Ready {
				t.Errorf("%s in state %s, flows %v, ready %v", got.Code, is.State, is.Flows, r.last.Ready)
			}
			if n := r.last.Counts()[tc.code]; n != 1 {
				t.Errorf("counted %d times", n)
			}
			r.cams[0] = func(s *Stream) {
				flows(s)
				s.Feed.Unknown = false
				s.Stats.Cursor, s.Stats.Newest = source.SlotAt(r.now.Now), source.SlotAt(r.now.Now)
				r.now.Down, r.now.Deaf, r.now.Troubles = nil, false, nil
			}
			r.pass(time.Minute + 10*time.Second)
			r.is(true)
			if n := len(r.log); n%2 != 0 || n > 4 {
				t.Errorf("the log tells %q", r.log)
			}
		})
	}
}

// TestFullIsToldAtOnce: not only when the streams have stood still for minutes.
func TestFullIsToldAtOnce(t *testing.T) {
	r := newRun(t, Any, 2)
	r.pass(time.Minute)
	r.cams[0], r.cams[1] = stands, stands
	r.now.Troubles = []Trouble{{StreamFull, r.now.At, "maximum bytes exceeded"}}
	r.pass(2 * time.Second)
	r.is(false, "stream_full")
	if lines := r.last.Lines(); len(lines) != 1 || !strings.HasPrefix(lines[0], "stream_full: ") || !strings.HasSuffix(lines[0], "(maximum bytes exceeded)") {
		t.Errorf("%q", lines)
	}
	r.pass(8 * time.Second)
	r.is(false, "stream_full", "cam-1 stream_full", "cam-2 stream_full")
	if s := r.last.Streams["cam-1"].State; s != NoSlotEnds {
		t.Errorf("%s", s)
	}
}

// TestProcessReasons: each alone makes the process not ready, except those that keep
// nothing from flowing.
func TestProcessReasons(t *testing.T) {
	for _, tc := range []struct {
		code    Code
		ready   bool
		streams int
		is      func(*Snapshot)
	}{
		{NATSAway, false, 1, func(s *Snapshot) { s.Down = []string{"data-2"} }},
		{NATSNotReady, false, 1, func(s *Snapshot) { s.Waiting = "JetStream stream cvfeeder: timeout" }},
		{PrefixUnknown, false, 1, func(s *Snapshot) { s.Unfound = []string{"cam-: not answered yet"} }},
		{NoStreams, false, 0, func(s *Snapshot) { s.Prefixes = []string{"cam-"} }},
		{NoStreams, false, 0, func(s *Snapshot) { s.Group = &Group{Known: true} }},
		{NoOwner, false, 0, func(s *Snapshot) { s.Group = &Group{Streams: 5, Mine: 3, Missing: 3, Known: true} }},
		{NoOwner, false, 0, func(s *Snapshot) { s.Group = &Group{Streams: 5} }},
		{NoOwner, true, 1, func(s *Snapshot) { s.Group = &Group{Streams: 5, Mine: 2, Missing: 1, Known: true} }},
		{Stopping, false, 1, func(s *Snapshot) { s.Stopping = true }},
		{Starting, false, 0, func(s *Snapshot) { s.Opened = false }},
		{ClockAhead, true, 1, func(s *Snapshot) { s.ClockOffset = time.Minute }},
		{ClockBehind, true, 1, func(s *Snapshot) { s.ClockOffset = -time.Minute }},
		{InterestUnknown, true, 1, func(s *Snapshot) {
			s.Troubles = []Trouble{{InterestUnknown, began.Add(29 * time.Second), "too old"}, {InterestUnknown, began.Add(20 * time.Second), "too old"}}
		}},
		{BudgetLow, true, 1, func(s *Snapshot) { s.Budget = Budget{Low: true} }},
		{BudgetSlow, true, 1, func(s *Snapshot) { s.Budget = Budget{Spent: true, Slow: true} }},
		{BudgetSpent, false, 1, func(s *Snapshot) { s.Budget = Budget{Spent: true} }},
		{StoreLost, true, 1, func(s *Snapshot) { s.Lost = 1 }},
		{"", true, 0, func(s *Snapshot) { s.Group = &Group{Streams: 5, Known: true} }}, // others run them
	} {
		t.Run(string(tc.code), func(t *testing.T) {
			r := newRun(t, Any, tc.streams)
			tc.is(&r.now)
			r.pass(30 * time.Second)
			if tc.code == "" {
				r.is(tc.ready)
			} else {
				r.is(tc.ready, string(tc.code))
			}
		})
	}
}

// TestNothingIsReadyBeforeItFlows: also within the time that a reason takes to be told.
func TestNothingIsReadyBeforeItFlows(t *testing.T) {
	r := newRun(t, Any, 1)
	r.cams[0] = stands
	r.pass(time.Second)
	r.is(false, "cam-1 starting")
	r.cams[0] = flows
	r.pass(time.Second)
	r.is(true)
	r = newRun(t, Any, 0)
	r.pass(time.Second)
	r.is(false, "no_streams")
}

// TestAnyAndAll: one camera that is off matters only where all are needed; all that are
// off matter everywhere.
func TestAnyAndAll(t *testing.T) {
	for need, one := range map[Need]bool{Any: true, All: false} {
		r := newRun(t, need, 2)
		r.pass(time.Minute)
		r.is(true)
		r.cams[1] = ends(source.NoMedia)
		r.pass(time.Minute)
		r.is(one, "cam-2 camera_silent")
		r.cams[0] = ends(source.NoMedia)
		r.pass(time.Minute)
		r.is(false, "cam-1 camera_silent", "cam-2 camera_silent")
		// One that has just been added does not count yet.
		r.cams[0], r.cams[1] = flows, flows
		r.pass(time.Minute + 20*time.Second)
		added := newRun(t, need, 3)
		r.now.Streams = append(r.now.Streams, added.now.Streams[2])
		r.cams = append(r.cams, stands)
		r.pass(10 * time.Second)
		r.is(true, "cam-3 starting")
	}
}

// TestNone: no camera takes the process out of service, and NATS does.
func TestNone(t *testing.T) {
	r := newRun(t, None, 1)
	r.cams[0] = stands
	r.pass(time.Second)
	r.is(true, "cam-1 starting")
	r.cams[0] = ends(source.NoMedia)
	r.pass(time.Minute)
	r.is(true, "cam-1 camera_silent")
	r.now.Down, r.now.Deaf = []string{"data"}, true
	r.pass(10 * time.Second)
	r.is(false, "nats_away", "cam-1 nats_away")
	r.now.Down, r.now.Deaf, r.now.Opened = nil, false, false
	r.pass(10 * time.Second)
	r.is(false, "starting", "cam-1 camera_silent")
	r = newRun(t, None, 0)
	r.pass(time.Second)
	r.is(false, "no_streams")
}

// TestDoneIsReady: a range that has ended expects nothing more.
func TestDoneIsReady(t *testing.T) {
	r := newRun(t, All, 1)
	r.pass(time.Minute)
	r.now.Streams[0].To = r.now.Streams[0].Stats.Cursor
	r.cams[0] = func(*Stream) {}
	r.pass(10 * time.Minute)
	r.is(true)
	if s := r.last.Streams["cam-1"].State; s != Done {
		t.Errorf("%s", s)
	}
}

// TestFlapping: what comes and goes is told once, and what is gone at once is not told.
func TestFlapping(t *testing.T) {
	r := newRun(t, Any, 1)
	r.pass(time.Minute)
	bad := fails(errors.New("connection reset"))
	r.cams[0] = bad
	r.pass(time.Second)
	r.cams[0] = flows
	r.pass(20 * time.Second)
	if len(r.log) > 0 {
		t.Errorf("a single failure: %q", r.log)
	}
	for range 30 {
		r.cams[0] = bad
		r.pass(time.Second)
		r.cams[0] = flows
		r.pass(time.Second)
	}
	r.pass(10 * time.Second)
	if want := []string{"cam-1 unreadable begins", "cam-1 unreadable ends"}; !slices.Equal(r.log, want) {
		t.Errorf("%q, want %q", r.log, want)
	}
}

// TestCauseIsToldOnce: many streams that wait for NATS have one line in the log.
func TestCauseIsToldOnce(t *testing.T) {
	r := newRun(t, Any, 100)
	r.pass(time.Minute)
	for i := range r.cams {
		r.cams[i] = stands
	}
	r.now.Down, r.now.Deaf = []string{"data"}, true
	r.pass(4 * time.Minute)
	if n := r.last.Counts()[NATSAway]; n != 100 {
		t.Errorf("%d streams wait", n)
	}
	for i := range r.cams {
		r.cams[i] = func(s *Stream) { flows(s); s.Stats.Cursor = source.SlotAt(r.now.Now) }
	}
	r.now.Down, r.now.Deaf = nil, false
	r.pass(time.Minute)
	if want := []string{"nats_away begins", "nats_away ends"}; !slices.Equal(r.log, want) {
		t.Errorf("%q, want %q", r.log, want)
	}
}

// TestBehind: catching up is nothing to do about, and falling behind is.
func TestBehind(t *testing.T) {
	r := newRun(t, Any, 1)
	r.pass(10 * time.Second)
	r.now.Now = r.now.Now.Add(time.Hour) // the machine was suspended
	r.cams[0] = func(s *Stream) { flows(s); s.Stats.Cursor += 9000 }
	r.pass(3 * time.Minute)
	r.is(true, "cam-1 catching_up")
	n := 0
	r.cams[0] = func(s *Stream) {
		if n++; n%2 == 0 {
			flows(s)
		}
	}
	r.pass(4 * time.Minute)
	r.is(true, "cam-1 falling_behind")
	if got, _ := r.last.Streams["cam-1"].Reason(); !strings.Contains(got.Detail, " min behind") {
		t.Errorf("%q", got.Detail)
	}
}

// TestOverdue: a camera that has stopped is not catching up while its slots are waited for,
// nor is it well. Then it has another reason.
func TestOverdue(t *testing.T) {
	r := newRun(t, Any, 2)
	r.pass(time.Minute)
	r.cams[0] = stands
	r.pass(20 * time.Second)
	r.is(true) // within lag, grace and some more
	for range 15 {
		r.pass(10 * time.Second)
		r.is(true, "cam-1 overdue")
	}
	if s := r.last.Streams["cam-1"]; s.State != NoFrames || !s.Flows {
		t.Errorf("%+v", s)
	}
	r.cams[0] = func(s *Stream) { s.Stats.Pending = 0; ends(source.NoMedia)(s); s.Stats.Cursor += 170_000 }
	r.pass(time.Second)
	r.cams[0] = ends(source.NoMedia)
	r.pass(10 * time.Second)
	r.is(true, "cam-1 camera_silent")
	if want := []string{"cam-1 overdue begins", "cam-1 camera_silent begins", "cam-1 overdue ends"}; !slices.Equal(r.log, want) {
		t.Errorf("%q, want %q", r.log, want)
	}
}

// TestNotOverdue: no camera is blamed while its frames wait for a core, for NATS, or for an
// earlier slot.
func TestNotOverdue(t *testing.T) {
	for name, waits := range map[string]func(*run){
		"a core":  func(r *run) { r.now.Streams[0].InHand = true },
		"a frame": func(r *run) { r.now.Streams[0].Feed.HeldBytes = 1 },
	} {
		r := newRun(t, Any, 1)
		r.pass(time.Minute)
		waits(r)
		r.cams[0] = stands
		r.pass(45 * time.Second)
		for _, reason := range r.last.Streams["cam-1"].Reasons {
			if reason.Code == Overdue {
				t.Errorf("%s: %+v", name, reason)
			}
		}
	}
}

// TestGaps: lost slots are told for a minute.
func TestGaps(t *testing.T) {
	r := newRun(t, Any, 1)
	r.pass(time.Minute)
	r.cams[0] = ends(source.Undecodable)
	r.pass(3 * time.Second)
	r.cams[0] = flows
	r.pass(30 * time.Second)
	r.is(true, "cam-1 gaps")
	first := began.Add(time.Minute + time.Second)
	if s := r.last.Streams["cam-1"]; s.State != SomeLost || s.Reasons[0].Detail != "3 undecodable" || !s.Reasons[0].Since.Equal(first) {
		t.Errorf("%+v", s)
	}
	r.cams[0] = ends(source.Dropped) // before it is over
	r.pass(time.Second)
	r.cams[0] = flows
	r.pass(time.Minute)
	if s := r.last.Streams["cam-1"]; len(s.Reasons) != 1 || !s.Reasons[0].Since.Equal(first) || s.Reasons[0].Text() != "slots lost: 3 undecodable, 1 dropped" {
		t.Errorf("%+v", s)
	}
	r.pass(10 * time.Second)
	r.is(true)
	r.cams[0] = ends(source.NoMedia) // counted anew
	r.pass(2 * time.Second)
	r.cams[0] = flows
	r.pass(time.Second)
	if s := r.last.Streams["cam-1"]; len(s.Reasons) != 1 || s.Reasons[0].Detail != "2 no media" {
		t.Errorf("%+v", s)
	}
}

// TestEachLossIsCounted: of a camera that gives no frames for two reasons, both are told.
func TestEachLossIsCounted(t *testing.T) {
	r := newRun(t, Any, 1)
	r.cams[0] = ends(source.Undecodable)
	r.pass(time.Second)
	r.cams[0] = flows
	r.pass(time.Minute)
	r.cams[0] = ends(source.NoMedia)
	r.pass(85 * time.Second)
	r.cams[0] = ends(source.MediaError)
	r.pass(30 * time.Second)
	reason, _ := r.last.Streams["cam-1"].Reason()
	want := "lost since then: 85 no media, 30 media error; the newest tensor is of 2026-01-02T03:05:05.000Z"
	if reason.Code != MediaError || reason.Detail != want {
		t.Errorf("%s: %q, want %q", reason.Code, reason.Detail, want)
	}
}

// TestTheCauseComesFirst: in words, and what was done when it happened comes last.
func TestTheCauseComesFirst(t *testing.T) {
	for want, err := range map[string]error{
		"refused by AWS: the permission kinesisvideo:GetImages is missing: AccessDenied (GetImages, HTTP 403) (window 12: hints); check the credentials and their permissions": fmt.Errorf("window 12: hints: %w: the permission kinesisvideo:GetImages is missing: AccessDenied (GetImages, HTTP 403)", source.ErrRefused),
		"refused by AWS: they are old; check the credentials and their permissions":                                                                                            fmt.Errorf("%w: they are old", source.ErrExpired),
		"throttled by AWS: ClientLimitExceeded; find out who else reads the stream, or make interval longer":                                                                   fmt.Errorf("%w: ClientLimitExceeded", source.ErrThrottled),
		"requests to Kinesis fail: no answer: connection reset; they are tried again":                                                                                          errors.New("no answer: connection reset"),
	} {
		code, detail := codeOf(err)
		if got := (Reason{Code: code, Detail: detail}).Text(); got != want {
			t.Errorf("%q\nwant %q", got, want)
		}
	}
}

// TestMovedEndpoint is told, and harmless.
func TestMovedEndpoint(t *testing.T) {
	r := newRun(t, All, 1)
	r.pass(10 * time.Second)
	r.now.Streams[0].Moved = r.now.At
	r.pass(10 * time.Second)
	r.is(true, "cam-1 endpoint_moved")
	if s := r.last.Streams["cam-1"].State; s != OK {
		t.Errorf("%s", s)
	}
	r.pass(2 * time.Minute)
	r.is(true)
}

// TestNoListener: frames come, and nobody listens: that is told, and the process is ready.
func TestNoListener(t *testing.T) {
	r := newRun(t, All, 1)
	r.cams[0] = ends(source.Unwatched)
	r.pass(5 * time.Minute)
	r.is(true, "cam-1 no_listener")
	if s := r.last.Streams["cam-1"].State; s != Unheard {
		t.Errorf("%s", s)
	}
	r.cams[0] = flows
	r.pass(10 * time.Second)
	r.is(true)
	if want := []string{"cam-1 no_listener begins", "cam-1 no_listener ends"}; !slices.Equal(r.log, want) {
		t.Errorf("%q, want %q", r.log, want)
	}
}

// TestQuiet: a stream whose frames show nothing new for an hour is well, also while it is sampled
// once a minute; when it then stands still, that is told, a minute later.
func TestQuiet(t *testing.T) {
	r := newRun(t, All, 1)
	r.cams[0] = ends(source.Unchanged)
	r.pass(30 * time.Minute)
	r.is(true)
	if s := r.last.Streams["cam-1"].State; s != OK {
		t.Errorf("%s", s)
	}
	minute := 0
	r.cams[0] = func(s *Stream) {
		s.Feed.Pace = time.Minute
		if minute++; minute%60 == 0 { // it is called once a second
			for range 60 {
				ends(source.Unchanged)(s)
			}
		}
	}
	r.pass(30 * time.Minute)
	r.is(true)
	if len(r.log) > 0 {
		t.Errorf("%q", r.log)
	}
	r.cams[0] = func(s *Stream) { s.Feed.Pace = time.Minute }
	r.pass(5 * time.Minute)
	r.is(false, "cam-1 stalled")
}

// TestResting: a stream that nobody listens to from the beginning, and is not read, is told to
// rest and keeps nobody from being ready, however far its slots are behind. When it is read
// again, it has as long as any other until the first frame.
func TestResting(t *testing.T) {
	for _, need := range []Need{Any, All} {
		r := newRun(t, need, 1)
		r.cams[0] = func(s *Stream) { s.Feed.Resting = true }
		r.pass(10 * time.Minute)
		r.is(true, "cam-1 resting")
		if s := r.last.Streams["cam-1"].State; s != AtRest {
			t.Errorf("%s", s)
		}
		r.cams[0] = func(s *Stream) { s.Feed.Resting = false; stands(s) }
		r.pass(10 * time.Second)
		r.is(true, "cam-1 catching_up") // from where it looks back to
		r.pass(time.Minute)
		r.is(true, "cam-1 overdue")
		r.pass(5 * time.Minute)
		r.is(false, "cam-1 stalled")
		r.cams[0] = func(s *Stream) { s.Feed.Resting = true; ends(source.Unwatched)(s) }
		r.pass(time.Minute)
		r.is(true, "cam-1 resting")
		// The last request before failed, and nobody tries again.
		r.cams[0] = func(s *Stream) { ends(source.Unwatched)(s); s.Problem = errors.New("reset") }
		r.pass(10 * time.Minute)
		r.is(true, "cam-1 resting")
		r.now.Deaf, r.now.Down = true, []string{"data"}
		r.pass(time.Minute)
		r.is(false, "nats_away", "cam-1 nats_away")
	}
}

// TestOldReport: one that is not renewed is not believed.
func TestOldReport(t *testing.T) {
	r := newRun(t, Any, 1)
	r.pass(10 * time.Second)
	if got := r.last.Read(r.now.At.Add(20 * time.Second)); !got.Ready {
		t.Errorf("%+v", got)
	}
	got := r.last.Read(r.now.At.Add(time.Minute))
	if got.Ready || got.Reasons[0].Code != Stuck || !r.last.Ready {
		t.Errorf("%+v", got)
	}
}

// TestLinesOfMany: a few are named, and the rest counted.
func TestLinesOfMany(t *testing.T) {
	r := newRun(t, Any, 12)
	r.pass(time.Minute)
	for i := range r.cams {
		r.cams[i] = ends(source.NoMedia)
	}
	r.pass(time.Minute)
	lines := r.last.Lines()
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "camera_silent: stream cam-1: no media") || lines[3] != "camera_silent: and 9 more streams" {
		t.Errorf("%q", lines)
	}
}

// TestNewStreamOfTheSameName begins anew: what it replaces has no part in it.
func TestNewStreamOfTheSameName(t *testing.T) {
	r := newRun(t, Any, 1)
	r.pass(time.Hour)
	r.now.Streams[0].Stats = source.Stats{Start: start + 3_600_000, Cursor: start + 3_600_000}
	r.pass(10 * time.Second)
	r.is(true)
}

// TestRules: the table has each code once, and says what is so and what to do.
func TestRules(t *testing.T) {
	seen := map[Code]bool{}
	for _, r := range rules {
		if seen[r.code] {
			t.Errorf("%s twice", r.code)
		}
		seen[r.code] = true
		if len(r.means) < 20 || strings.HasSuffix(r.means, ".") {
			t.Errorf("%s: %q", r.code, r.means)
		}
		if !slices.Contains(States(), r.state) {
			t.Errorf("%s: state %q", r.code, r.state)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 1500 * time.Millisecond: "1.5 s", 42 * time.Second: "42 s", 10 * time.Minute: "10 min",
		3 * time.Hour: "3 h", 150 * time.Minute: "2.5 h", 80 * time.Hour: "3 days",
	} {
		if got := Span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// waits is what happens to a stream whose tensor NATS does not store.
func waits(s *Stream) { stands(s); s.Delivering = true }

// TestNotStoredIsTold: a stream that waits for NATS to store a tensor does not flow, whatever
// NATS answers, and even if nobody has heard an error. It waits for no picture, so that is said
// long before it counts as standing still.
func TestNotStoredIsTold(t *testing.T) {
	for name, tell := range map[string]func(*Snapshot){
		"refused":        func(s *Snapshot) { s.Troubles = []Trouble{{NotStored, s.At, "no response from stream"}} },
		"no answer":      func(*Snapshot) {},
		"no other error": func(s *Snapshot) { s.Troubles = []Trouble{{NotStored, began, "once, long ago"}} },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRun(t, Any, 1)
			r.pass(time.Minute)
			r.is(true)
			r.log = nil
			r.cams[0] = func(s *Stream) { waits(s); tell(&r.now) }
			r.pass(heldFor + time.Second)
			for range 600 {
				r.pass(time.Second)
				r.is(false, "not_stored", "cam-1 not_stored")
			}
			r.cams[0] = func(s *Stream) {
				flows(s)
				s.Delivering, s.Stats.Cursor, r.now.Troubles = true, source.SlotAt(r.now.Now), nil
			}
			if r.pass(time.Second); !r.last.Ready {
				t.Errorf("not ready at once: %q", r.last.Lines())
			}
			r.pass(time.Minute)
			r.is(true)
			if want := []string{"not_stored begins", "not_stored ends"}; !slices.Equal(r.log, want) {
				t.Errorf("%q, want %q", r.log, want)
			}
		})
	}
}

// TestWhatIsStoredSlowlyFlows: also if NATS has something in hand at all times. A process that
// was stopped has not waited for NATS.
func TestWhatIsStoredSlowlyFlows(t *testing.T) {
	r := newRun(t, Any, 1)
	n := 0
	r.cams[0] = func(s *Stream) {
		if waits(s); n%8 == 0 {
			ends(source.Published)(s)
			s.Stats.Cursor = source.SlotAt(r.now.Now)
		}
		n++
	}
	for range 300 {
		if r.pass(time.Second); !r.last.Ready || len(r.last.Lines()) > 0 {
			t.Fatalf("ready %v: %q", r.last.Ready, r.last.Lines())
		}
	}
	r.now.At, r.now.Now = r.now.At.Add(50*time.Second), r.now.Now.Add(50*time.Second)
	if r.pass(time.Second); !r.last.Ready || len(r.last.Lines()) > 0 {
		t.Errorf("ready %v: %q", r.last.Ready, r.last.Lines())
	}
}

// TestOneHeldStream: the others flow, so that the process is ready, and says which is held.
func TestOneHeldStream(t *testing.T) {
	r := newRun(t, Any, 3)
	r.pass(time.Minute)
	r.cams[1] = waits
	r.pass(30 * time.Second)
	r.is(true, "not_stored", "cam-2 not_stored")
	if lines := r.last.Lines(); len(lines) != 1 || !strings.Contains(lines[0], "not stored by NATS: nothing of 1 of 3 streams for 30 s; ") {
		t.Errorf("%q", lines)
	}
}

// TestNotReadyHasAReason: whatever happens, in whatever order, a process that is not ready says
// why at once.
func TestNotReadyHasAReason(t *testing.T) {
	happenings := []func(*Stream){
		flows, flows, stands, waits, ends(source.NoMedia), ends(source.Dropped), ends(source.Stale),
		fails(source.ErrThrottled), func(s *Stream) { s.Stats.Pending = 0 }, func(s *Stream) { s.Feed.Unknown = !s.Feed.Unknown },
	}
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 0))
		one := func(n int) bool { return rng.IntN(n) == 0 }
		r := newRun(t, []Need{Any, All, None}[seed%3], rng.IntN(3))
		for range 60 {
			s := &r.now
			for i := range r.cams {
				r.cams[i] = happenings[rng.IntN(len(happenings))]
			}
			if s.Group = nil; one(2) {
				s.Group = &Group{Streams: rng.IntN(3), Mine: rng.IntN(3), Missing: rng.IntN(2), Known: one(2)}
			}
			if s.Down, s.Deaf = nil, false; one(4) {
				s.Down, s.Deaf = []string{"data"}, one(2)
			}
			if s.Troubles = nil; one(3) {
				s.Troubles = []Trouble{{[]Code{NotStored, StreamFull}[rng.IntN(2)], s.At, ""}}
			}
			s.Opened, s.Stopping = !one(8), one(8)
			if s.ClockOffset = 0; one(3) {
				s.ClockOffset = time.Minute
			}
			for range rng.IntN(100) {
				r.pass(time.Second)
				if !r.last.Ready && (len(r.last.Lines()) == 0 || !r.last.explained() && !has(r.last.Reasons, NoOwner)) {
					t.Fatalf("seed %d: not ready, and no word why: %+v", seed, r.now)
				}
			}
		}
	}
}

// TestDetailsFromOutside: what a reason quotes is one clean line of bounded length, whoever
// reads it.
func TestDetailsFromOutside(t *testing.T) {
	r := newRun(t, Any, 1)
	r.pass(time.Minute)
	r.cams[0] = func(s *Stream) {
		s.Problem = errors.New("no\x1b[2J\nroute " + strings.Repeat("x", 1<<20))
	}
	r.pass(10 * time.Second)
	reason, _ := r.last.Streams["cam-1"].Reason()
	if reason.Code != Unreadable || !strings.HasPrefix(reason.Detail, "no?[2J route xxx") || len(reason.Detail) > 2*sanitize.MaxText {
		t.Errorf("%s: %d bytes: %.40q", reason.Code, len(reason.Detail), reason.Detail)
	}
}

// TestPause: a process that was stopped says so when it runs again, once. What began and
// was over before the pause has not lasted for as long as that.
func TestPause(t *testing.T) {
	r := newRun(t, Any, 1)
	group := &Group{Streams: 1, Mine: 1, Known: true}
	lost := &Group{Streams: 1, Mine: 1, Missing: 1, Known: true}
	r.now.Group = group
	r.pass(time.Minute)
	r.now.Group = lost
	r.pass(2 * time.Second)
	r.now.Group = group
	r.pass(time.Second)
	pause := 2 * time.Minute
	r.now.At, r.now.Now = r.now.At.Add(pause), r.now.Now.Add(pause)
	r.now.Group = lost
	r.pass(time.Second)
	r.now.Group = group
	r.pass(time.Minute)
	if want := []string{"stuck begins", "stuck ends"}; !slices.Equal(r.log, want) {
		t.Errorf("logged %q, want %q", r.log, want)
	}
	r.log = nil
	r.now.At = r.now.At.Add(20 * time.Second)
	r.pass(time.Minute)
	if len(r.log) > 0 {
		t.Errorf("a short pause is told: %q", r.log)
	}
}

// TestNoOwnerSaysWhy: the reason that streams of a group do not run has what the leases say.
func TestNoOwnerSaysWhy(t *testing.T) {
	r := newRun(t, Any, 1)
	r.now.Group = &Group{Streams: 5, Mine: 2, Missing: 1, Known: true, Problem: "maximum bytes exceeded"}
	r.pass(time.Minute)
	if lines := r.last.Lines(); len(lines) != 1 || !strings.HasSuffix(lines[0], "(1 of 2 do not run: maximum bytes exceeded)") {
		t.Errorf("%q", lines)
	}
}

// TestPace: a stream of which fewer slots are asked for, or none, does not stall, is not late,
// and says why.
func TestPace(t *testing.T) {
	skips := ends(source.Skipped)
	r := newRun(t, Any, 1)
	r.pass(10 * time.Second)
	r.is(true)
	r.cams[0] = func(s *Stream) {
		skips(s)
		s.Feed.Pace, s.Budget = -1, Budget{Spent: true, Detail: "images_per_day is used up"}
	}
	r.pass(10 * time.Minute)
	r.is(false, "cam-1 budget_spent")
	if text := r.last.Streams["cam-1"].Reasons[0].Text(); !strings.Contains(text, "images_per_day is used up") {
		t.Error(text)
	}
	r.cams[0] = func(s *Stream) {
		flows(s)
		s.Feed.Pace, s.Budget = 0, Budget{Low: true}
	}
	r.pass(10 * time.Second)
	r.is(true, "cam-1 budget_low")
	seconds := 0
	r.cams[0] = func(s *Stream) { // a slot of 100 every 100 s, all at once
		s.Feed.Pace, s.Budget = 100*time.Second, Budget{Spent: true, Slow: true}
		s.Stats.Expected++
		if s.Stats.Pending++; seconds%100 == 0 {
			n := s.Stats.Pending
			s.Stats.Ended[source.Skipped] += n - 1
			s.Stats.Ended[source.Published]++
			s.Stats.Cursor += source.Slot(1000 * n)
			s.Stats.Newest, s.Stats.Pending = s.Stats.Cursor-1000, 0
		}
		seconds++
	}
	for range 30 {
		r.pass(time.Minute)
		r.is(true, "cam-1 budget_slow")
	}
	want := []string{"cam-1 budget_spent begins", "cam-1 budget_low begins", "cam-1 budget_spent ends", "cam-1 budget_slow begins", "cam-1 budget_low ends"}
	if diff := cmp.Diff(want, r.log); diff != "" {
		t.Error("the log (-want +got):", diff)
	}
}
