package kinesistest

import (
	"iter"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// media knows which fragments of a stream exist, and from when to when they can be asked
// for. It has no clock and no state.
type media struct {
	rng               rng
	shortest, longest source.Slot // of a fragment
	delay             time.Duration
	retention         time.Duration
	since             time.Time
	outages           []Interval
	faults            Faults
	eras              []era // of the camera's clock, in order
}

// A fragment is the media that was recorded from start up to but not including end. It is
// received meanwhile, so these are its times by the service's clock, unless it is uploaded
// later.
type fragment struct{ start, end source.Slot }

// blockFragments is the number of fragments of a block: a period of fixed length that is
// divided into fragments of varying lengths. Blocks begin at whole multiples of their
// length since the epoch, so the fragments at any time are known without those before.
const blockFragments = 16

func (m media) blockLength() source.Slot { return blockFragments / 2 * (m.shortest + m.longest) }

// block returns where the fragments of the block begin, and where the last one ends. Each
// length is chosen so that the rest can still be divided.
func (m media) block(number int64) (bounds [blockFragments + 1]source.Slot) {
	left := m.blockLength()
	at := source.Slot(number) * left
	for i := range bounds[:blockFragments] {
		bounds[i] = at
		after := source.Slot(blockFragments - 1 - i)
		low := max(m.shortest, left-after*m.longest)
		high := min(m.longest, left-after*m.shortest)
		length := low
		if high > low {
			length += source.Slot(m.rng.derive(ofLength, uint64(number), uint64(i)).below(int64(high-low) + 1))
		}
		at, left = at+length, left-length
	}
	bounds[blockFragments] = at
	return bounds
}

// cut returns where the fragments are cut, in order from the one that would hold t on,
// without end.
func (m media) cut(t source.Slot) iter.Seq[fragment] {
	return func(yield func(fragment) bool) {
		for number := period(t, m.blockLength()); ; number++ {
			bounds := m.block(number)
			for i, start := range bounds[:blockFragments] {
				if end := bounds[i+1]; end > t && !yield(fragment{start, end}) {
					return
				}
			}
		}
	}
}

// period returns the number of the period of the given length that holds t.
func period(t, length source.Slot) int64 {
	n := t / length
	if t%length < 0 {
		n--
	}
	return int64(n)
}

// starting returns the fragments that exist and start between from and to, by the
// service's clock or the producer's, in the order in which they were recorded.
func (m media) starting(from, to source.Slot, producer bool) iter.Seq[fragment] {
	return func(yield func(fragment) bool) {
		for f := range m.near(from, to, producer) {
			if start := m.begin(f, producer); start >= from && start <= to && m.exists(f) && !yield(f) {
				return
			}
		}
	}
}

// holding returns the fragments that exist and hold t: several are possible if the
// camera's clock was set back, or footage was uploaded later.
func (m media) holding(t source.Slot, producer bool) iter.Seq[fragment] {
	return func(yield func(fragment) bool) {
		for f := range m.near(t-m.longest, t, producer) {
			start := m.begin(f, producer)
			if start <= t && t < start+f.end-f.start && m.exists(f) && !yield(f) {
				return
			}
		}
	}
}

// find returns the fragment in which a window finds t. The service selects fragments by
// their start, so a fragment that was already running when the window opened is not found.
func (m media) find(t, opened source.Slot, producer bool, now time.Time) (fragment, bool) {
	for f := range m.holding(t, producer) {
		if (m.faults.FindRunning || m.begin(f, producer) >= opened) && m.visible(f, now) {
			return f, true
		}
	}
	return fragment{}, false
}

// any tells whether a query finds any visible fragment.
func (m media) any(q imagesQuery, now time.Time) bool {
	w := q.window
	for f := range m.starting(w.Start, w.End, q.producer()) {
		if m.visible(f, now) {
			return true
		}
	}
	_, ok := m.find(w.Start, q.opened(), q.producer(), now)
	return ok
}

func (m media) exists(f fragment) bool {
	start, end := f.start.Time(), f.end.Time() // when it was recorded
	if start.Before(m.since) || m.stretch(f, ofOutages, m.faults.Outages) || m.deletions().at(f.start) || m.unretained().at(f.start) {
		return false
	}
	for _, out := range m.outages {
		if start.Before(out.To) && out.From.Before(end) {
			return false
		}
	}
	return true
}

// broken tells whether f has media of which no picture can be made.
func (m media) broken(f fragment) bool { return m.stretch(f, ofMediaErrors, m.faults.MediaErrors) }

// stretch tells whether f starts within a stretch of time to which something happens that
// has the given share of the time.
func (m media) stretch(f fragment, of uint64, share float64) bool {
	if share == 0 {
		return false
	}
	number := period(f.start, source.Slot(m.faults.Stretch.Milliseconds()))
	return m.rng.derive(of, uint64(number)).chance(share)
}

// visible tells whether f, which exists, can be asked for at now.
func (m media) visible(f fragment, now time.Time) bool {
	at, ok := m.visibleFrom(f)
	return ok && !now.Before(at) && !now.After(m.gone(f))
}

// visibleFrom returns from when on f, which exists, can be asked for, or false for never.
func (m media) visibleFrom(f fragment) (time.Time, bool) {
	random := func(of uint64) rng { return m.rng.derive(of, uint64(f.start)) }
	at := (f.end + m.upload(f)).Time().Add(m.delay)
	if m.faults.Never > 0 && random(ofNever).chance(m.faults.Never) {
		return time.Time{}, false
	}
	if m.faults.Later > 0 {
		number := period(f.start, source.Slot(m.faults.LaterEvery.Milliseconds()))
		at = at.Add(m.rng.derive(ofLater, uint64(number)).upTo(m.faults.Later))
	}
	if m.faults.Jitter > 0 {
		at = at.Add(random(ofJitter).upTo(m.faults.Jitter))
	}
	if m.faults.Late > 0 && random(ofLate).chance(m.faults.Late) {
		at = at.Add(random(ofLateBy).upTo(m.faults.LateBy))
	}
	return at, true
}

// How the images of a fragment can be at first.
type early int

const (
	notEarly early = iota
	earlyError
	earlyBare
	earlyEmpty
)

// early tells how the images of f are for some time after it became visible.
func (m media) early(f fragment) early {
	at := m.rng.derive(ofEarly, uint64(f.start)).fraction()
	for i, share := range []float64{m.faults.EarlyErrors, m.faults.EarlyBare, m.faults.EarlyEmpty} {
		if at < share {
			return earlyError + early(i)
		}
		at -= share
	}
	return notEarly
}

// picturesFrom returns from when on there are pictures of f, if it is visible from the
// given time on.
func (m media) picturesFrom(f fragment, visible time.Time) time.Time {
	if m.early(f) == notEarly {
		return visible
	}
	return visible.Add(m.faults.EarlyFor)
}
