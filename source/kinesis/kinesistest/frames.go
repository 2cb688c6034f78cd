package kinesistest

import (
	"iter"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// frameEvery returns the distance between the camera's frames, 0 where there is one at
// any instant.
func (m media) frameEvery() source.Slot { return source.Slot(m.faults.FrameEvery.Milliseconds()) }

// frame returns the time of the camera's n-th frame since the epoch.
func (m media) frame(n int64) source.Slot {
	at := source.Slot(n) * m.frameEvery()
	// A frame is never later than the next one.
	if jitter := min(m.faults.FrameJitter, m.faults.FrameEvery-time.Millisecond); jitter > 0 {
		at = at.Add(m.rng.derive(ofFrameJitter, uint64(n)).upTo(jitter))
	}
	return at
}

// dropped tells whether the camera has left out its n-th frame. It never leaves out two in
// a row.
func (m media) dropped(n int64) bool {
	chance := func(n int64) bool {
		return m.rng.derive(ofFrameDrops, uint64(n)).chance(m.faults.FrameDrops)
	}
	return m.faults.FrameDrops > 0 && chance(n) && !chance(n-1)
}

// frameFrom returns the first frame at or after t.
func (m media) frameFrom(t source.Slot) source.Slot {
	for n := period(t, m.frameEvery()); ; n++ {
		if at := m.frame(n); at >= t && !m.dropped(n) {
			return at
		}
	}
}

// frameUntil returns the last frame at or before t.
func (m media) frameUntil(t source.Slot) source.Slot {
	for n := period(t, m.frameEvery()); ; n-- {
		if at := m.frame(n); at <= t && !m.dropped(n) {
			return at
		}
	}
}

// from returns the fragments in order from the one that would hold t on, without end and
// whether they exist or not. Each begins with a frame and ends with the first frame of
// the next.
func (m media) from(t source.Slot) iter.Seq[fragment] {
	every := m.frameEvery()
	if every == 0 {
		return m.cut(t)
	}
	return func(yield func(fragment) bool) {
		// The first frame after an instant is less than three distances away.
		for f := range m.cut(t - 3*every) {
			f = fragment{m.frameFrom(f.start), m.frameFrom(f.end)}
			if f.start < f.end && f.end > t && !yield(f) {
				return
			}
		}
	}
}

// shown returns which instant the picture shows that the service gives for t, which f
// holds, by the service's clock, and false where it gives none. It also returns the
// timestamp of the picture. Both t and the timestamp are by the clock that was asked for.
func (m media) shown(f fragment, t source.Slot, interval time.Duration, producer bool) (at, stamp source.Slot, ok bool) {
	off := m.begin(f, producer) - f.start
	if m.frameEvery() == 0 {
		return t - off, t, true
	}
	at, stamp = m.frameUntil(t-off), t
	if m.faults.FrameTimes {
		stamp = at + off
	}
	return at, stamp, !m.faults.FrameGaps || at > (t-off).Add(-interval)
}
