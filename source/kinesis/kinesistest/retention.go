package kinesistest

import (
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// unretained are the times in which the stream keeps no media, and halved those in which it
// keeps media for half as long.
func (m media) unretained() recurring {
	return m.recurs(ofRetention, m.faults.NoRetention, m.faults.AwayFor)
}

func (m media) halved() recurring {
	return m.recurs(ofHalves, m.faults.Halve, m.faults.Halve/2)
}

// half returns half of the retention, in whole hours like any retention.
func (m media) half() time.Duration {
	half := (m.retention/2 + time.Hour - 1).Truncate(time.Hour)
	return min(half, m.retention)
}

// retention returns how long media is kept at now.
func (st *stream) retention(now time.Time) time.Duration {
	t := source.SlotAt(now)
	switch {
	case st.media.unretained().at(t):
		return 0
	case st.media.halved().at(t):
		return st.media.half()
	}
	return st.Retention
}

// gone returns the time until which f, which exists, is kept. What was deleted does not
// come back when the retention is raised again.
func (m media) gone(f fragment) time.Time {
	start := m.begin(f, false)
	at := start.Add(m.retention)
	for _, wipes := range []recurring{m.deletions(), m.unretained()} {
		if next, ok := wipes.after(f.start); ok {
			at = min(at, next)
		}
	}
	old, halved := start.Add(m.half()), m.halved()
	if halved.at(old) {
		return min(at, old).Time()
	}
	if next, ok := halved.after(old); ok {
		at = min(at, next)
	}
	return at.Time()
}
