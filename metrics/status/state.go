package status

import (
	"fmt"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A State is the answer to "how is this stream?".
type State string

// The states, the worst first. A stream is in the first that applies.
const (
	Unreadable State = "cannot_be_read"   // its Problem tells why
	Waiting    State = "waiting_for_nats" // NATS is away
	Stalled    State = "stalled"          // no slot ends
	NoFrames   State = "no_frames"        // slots end, but all without a tensor
	Gaps       State = "gaps"             // slots were lost within the last minute
	CatchingUp State = "catching_up"      // tensors come, but of the past
	Starting   State = "starting"         // nothing has been due yet
	OK         State = "ok"
	Done       State = "done" // its range (to) is
)

// States returns all of them, the worst first.
func States() []State {
	return []State{Unreadable, Waiting, Stalled, NoFrames, Gaps, CatchingUp, Starting, OK, Done}
}

// late is how much later than its lag and its grace a stream may be.
const late = 10 * time.Second

// A verdict is a state, why, and since when, zero where that is not known.
type verdict struct {
	state  State
	reason string
	since  time.Time
}

// judge tells how a stream is.
func judge(s Stream, p past, now time.Time, nats bool) verdict {
	allowed := s.Lag + s.Grace + s.Interval + late
	behind := now.Sub(s.Cursor.Time())
	lost := p.lostAt != 0 && now.Sub(p.lostAt.Time()) < max(calm, 2*s.Interval)
	silent := s.Newest
	if silent == 0 {
		silent = s.Start
	}
	switch {
	case s.To != 0 && s.Cursor >= s.To:
		return verdict{Done, "everything up to " + clock(s.To.Time(), now) + " has ended", time.Time{}}
	case s.Problem != "":
		return verdict{Unreadable, s.Problem, s.ProblemSince}
	case !nats:
		return verdict{Waiting, "NATS is away", time.Time{}}
	case !s.StalledSince.IsZero():
		return verdict{Stalled, "no slot has ended since", s.StalledSince}
	case lost && p.newestAt.Sub(silent) >= max(late, 3*s.Interval):
		return verdict{NoFrames, "every slot since ended as " + lastReason(p), silent.Time()}
	case lost:
		return verdict{Gaps, fmt.Sprintf("%s lost in the last %s: %s", slots(p.lost), short(Cells*Cell), lastReason(p)), p.since.Time()}
	case behind > allowed:
		return verdict{CatchingUp, "is at " + clock(s.Cursor.Time(), now) + ", " + short(behind) + " behind", time.Time{}}
	case s.Newest == 0:
		return verdict{Starting, "the first frames are awaited", s.Start.Time()}
	}
	return verdict{OK, "", time.Time{}}
}

func lastReason(p past) string {
	if len(p.gaps) == 0 {
		return ""
	}
	return reasonText(p.gaps[len(p.gaps)-1].Reason)
}

// reasonText explains an outcome.
func reasonText(o source.Outcome) string {
	switch o {
	case source.NoMedia:
		return "no media from the camera"
	case source.MediaError:
		return "Kinesis could not make a picture (media error)"
	case source.Undecodable:
		return "undecodable pictures"
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

// clock returns the time of day in UTC, with the date where that is another one.
func clock(t, now time.Time) string {
	if t.UTC().Format(time.DateOnly) == now.UTC().Format(time.DateOnly) {
		return t.UTC().Format("15:04:05 UTC")
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// short returns a duration as people say it: 8 s, 3 min, 2.5 h, 4 days.
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
