package kinesistest

import (
	"fmt"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A status is what the service says about a stream.
type status string

// The statuses.
const (
	active   status = "ACTIVE"
	updating status = "UPDATING"
	creating status = "CREATING"
	deleting status = "DELETING"
	deleted  status = "" // there is no such stream
)

// works tells whether a stream of that status can be read.
func (s status) works() bool { return s == active || s == updating }

// A recurring is something that happens to a stream again and again, at times of its own.
// It lasts from each whole multiple of every, shifted by a phase. The zero value never
// happens.
type recurring struct{ every, phase, length source.Slot }

// recurs returns what happens each time after every, for a given time but not longer than
// half of that.
func (m media) recurs(of uint64, every, length time.Duration) recurring {
	if every == 0 {
		return recurring{}
	}
	ms := every.Milliseconds()
	return recurring{
		every: source.Slot(ms), phase: source.Slot(m.rng.derive(of).below(ms)),
		length: source.Slot(min(length, every/2).Milliseconds()),
	}
}

// deletions are the times from the deletion of the stream until it has been created again.
func (m media) deletions() recurring {
	return m.recurs(ofDeletions, m.faults.Recreate, m.faults.AwayFor)
}

// last returns when it last began, at t or before.
func (r recurring) last(t source.Slot) source.Slot {
	return source.Slot(period(t+r.phase, r.every))*r.every - r.phase
}

// at tells whether it is going on at t.
func (r recurring) at(t source.Slot) bool { return r.every > 0 && t < r.last(t)+r.length }

// after returns when it begins the next time after t.
func (r recurring) after(t source.Slot) (source.Slot, bool) {
	if r.every == 0 {
		return 0, false
	}
	return r.last(t) + r.every, true
}

// status returns the stream's status at now. A stream that is deleted and created again is
// DELETING, absent and CREATING for a third of the time each.
func (st *stream) status(now time.Time) status {
	if set, ok := st.set.Load().(status); ok {
		return set
	}
	t := source.SlotAt(now)
	if d := st.media.deletions(); d.at(t) {
		return []status{deleting, deleted, creating}[min(3*(t-d.last(t))/d.length, 2)]
	}
	number := period(t, source.Slot(st.faults.Stretch.Milliseconds()))
	if st.media.rng.derive(ofUpdating, uint64(number)).chance(st.faults.Updating) {
		return updating
	}
	return active
}

// created returns when the stream that there is at now was created.
func (st *stream) created(now time.Time) time.Time {
	d := st.media.deletions()
	if d.every == 0 {
		return st.first
	}
	t := source.SlotAt(now)
	again := d.last(t)
	if t < again+2*d.length/3 { // not yet
		again -= d.every
	}
	if at := (again + 2*d.length/3).Time(); at.After(st.first) {
		return at
	}
	return st.first
}

// arn returns the ARN of the stream that there is at now: a stream that is created again
// gets another.
func (st *stream) arn(now time.Time) string {
	return fmt.Sprintf("arn:aws:kinesisvideo:%s:123456789012:stream/%s/%d", st.region, st.Name, st.created(now).UnixMilli())
}
