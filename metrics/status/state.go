package status

import (
	"fmt"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A state is the answer to "how is this stream?".
type state string

// The states, worst first. A stream is in the first one that applies.
const (
	stateUnreadable state = "cannot_be_read"   // its Problem says why
	stateWaiting    state = "waiting_for_nats" // there is no connection for tensors
	stateStalled    state = "stalled"          // no slot ends
	stateNoFrames   state = "no_frames"        // slots end, but all without a tensor
	stateGaps       state = "gaps"             // slots were lost within the last minute
	stateCatchingUp state = "catching_up"      // tensors arrive, but older than lag and grace explain
	stateStarting   state = "starting"         // nothing is due yet
	stateOK         state = "ok"
	stateDone       state = "done" // its range has ended
)

// states returns all states, worst first.
func states() []state {
	return []state{
		stateUnreadable, stateWaiting, stateStalled, stateNoFrames, stateGaps, stateCatchingUp, stateStarting, stateOK, stateDone,
	}
}

// late is how much later than its lag and grace explain a stream may be.
const late = 10 * time.Second

// A condition is a state, the reason for it, and since when it has lasted, zero where
// that is not known.
type condition struct {
	state  state
	reason string
	since  time.Time
}

// conditionOf tells how a stream is.
func conditionOf(s Stream, recent summary, now time.Time, connected bool) condition {
	allowed := s.Lag + s.Grace + s.Interval + late
	present := s.Present(now)
	behind := present.Sub(s.Cursor.Time())
	lost := recent.lostAt != 0 && present.Sub(recent.lostAt.Time()) < max(calm, 2*s.Interval)
	newest := s.Newest
	if newest == 0 {
		newest = s.Start
	}
	switch {
	case s.To != 0 && s.Cursor >= s.To:
		return condition{stateDone, "all slots up to " + clock(s.To.Time(), now) + " have ended", time.Time{}}
	case s.Problem != "":
		return condition{stateUnreadable, s.Problem, s.ProblemSince}
	case !connected:
		return condition{stateWaiting, "NATS is not connected", time.Time{}}
	case !s.StalledSince.IsZero():
		return condition{stateStalled, "no slot has ended", s.StalledSince}
	case lost && recent.newestAt.Sub(newest) >= max(late, 3*s.Interval):
		return condition{stateNoFrames, "every slot has ended without a tensor: " + lastReason(recent), newest.Time()}
	case lost:
		reason := fmt.Sprintf("%s lost in the last %s: %s", slots(recent.lost), short(timelineLength), lastReason(recent))
		return condition{stateGaps, reason, recent.since.Time()}
	case behind > allowed:
		return condition{stateCatchingUp, "at " + clock(s.Cursor.Time(), now) + ", " + short(behind) + " behind", time.Time{}}
	case s.Newest == 0:
		return condition{stateStarting, "waiting for the first frames", s.Start.Time()}
	}
	return condition{stateOK, "", time.Time{}}
}

// lastReason explains the newest gap.
func lastReason(recent summary) string {
	if len(recent.gaps) == 0 {
		return ""
	}
	return reasonText(recent.gaps[len(recent.gaps)-1].Reason)
}

// reasonText explains an outcome.
func reasonText(o source.Outcome) string {
	switch o {
	case source.NoMedia:
		return "no media from the camera"
	case source.MediaError:
		return "Kinesis could not make an image (media error)"
	case source.Undecodable:
		return "undecodable images"
	case source.Stale:
		return "stale: older than the freshness limit"
	case source.Dropped:
		return "dropped: NATS did not take them"
	}
	return o.String()
}

func slots(n int) string {
	if n == 1 {
		return "1 slot"
	}
	return fmt.Sprintf("%d slots", n)
}

// clock returns the time of day in UTC, with the date unless that is today's.
func clock(t, now time.Time) string {
	if t.UTC().Format(time.DateOnly) == now.UTC().Format(time.DateOnly) {
		return t.UTC().Format("15:04:05 UTC")
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// short returns a duration as people write it: 8 s, 3 min, 2.5 h, 4 days.
func short(d time.Duration) string {
	var text string
	switch {
	case d < 10*time.Second:
		text = fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		text = fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		text = fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		text = fmt.Sprintf("%.1f h", d.Hours())
	default:
		text = fmt.Sprintf("%.0f days", d.Hours()/24)
	}
	return strings.Replace(text, ".0 ", " ", 1)
}
