package kinesistest

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A ClockSetting is an instant at which a camera's clock was set.
type ClockSetting struct {
	At time.Time
	// Behind is how far the clock is behind the service's from then on, negative if it is
	// ahead.
	Behind time.Duration
}

// An era is a time in which the camera's clock is not set: from one instant up to but not
// including another, by the service's clock.
type era struct{ from, to, behind source.Slot }

// eras returns the eras of a clock that was off by the faults before the first setting.
func eras(settings []ClockSetting, faults Faults) []era {
	slices.SortFunc(settings, func(a, b ClockSetting) int { return a.At.Compare(b.At) })
	const ever = math.MaxInt64
	all := []era{{-ever, ever, source.Slot(faults.Behind.Milliseconds())}}
	for _, set := range settings {
		at := source.SlotAt(set.At)
		all[len(all)-1].to = at
		all = append(all, era{at, ever, source.Slot(set.Behind.Milliseconds())})
	}
	return all
}

// near returns all fragments that may start between two instants, by the service's clock
// or the producer's, and others, in the order in which they were recorded.
func (m media) near(from, to source.Slot, producer bool) iter.Seq[fragment] {
	if !producer {
		return m.received(from, to)
	}
	off := source.Slot(m.faults.Clock.Milliseconds())
	most := off + source.Slot(m.faults.Drift.Milliseconds())
	return func(yield func(fragment) bool) {
		for _, e := range m.eras {
			first, last := max(from+e.behind-off, e.from), min(to+e.behind+most, e.to-1)
			if first > last {
				continue
			}
			for f := range m.from(first) {
				if f.start > last {
					break
				}
				if f.start >= e.from && !yield(f) {
					return
				}
			}
		}
	}
}

// received returns the fragments that the service begins to receive between two instants,
// and others, in the order in which they were recorded.
func (m media) received(from, to source.Slot) iter.Seq[fragment] {
	after := source.Slot(0)
	if m.faults.Uploads > 0 {
		after = source.Slot(m.faults.UploadAfter.Milliseconds())
	}
	return func(yield func(fragment) bool) {
		for f := range m.from(from - after) {
			if f.start > to {
				return
			}
			if !yield(f) {
				return
			}
		}
	}
}

// begin returns the start of f by the service's clock or the producer's.
func (m media) begin(f fragment, producer bool) source.Slot {
	if producer {
		return f.start + m.clock(f)
	}
	return f.start + m.upload(f)
}

// clock returns how far the camera's clock is ahead during f.
func (m media) clock(f fragment) source.Slot {
	i, found := slices.BinarySearchFunc(m.eras, f.start, func(e era, s source.Slot) int { return cmp.Compare(e.from, s) })
	if !found {
		i--
	}
	ahead := -m.eras[i].behind
	if m.faults.Clock == 0 && m.faults.Drift == 0 {
		return ahead
	}
	every := source.Slot(m.faults.ClockEvery.Milliseconds())
	number := period(f.start, every)
	ahead += m.rng.derive(ofClock, uint64(number)).around(m.faults.Clock)
	passed := float64(f.start-source.Slot(number)*every) / float64(every)
	return ahead - source.Slot(passed*float64(m.faults.Drift.Milliseconds()))
}

// upload returns how long after it was recorded f is uploaded.
func (m media) upload(f fragment) source.Slot {
	if m.faults.Uploads == 0 {
		return 0
	}
	number := period(f.start, source.Slot(m.faults.UploadFor.Milliseconds()))
	if !m.rng.derive(ofUploads, uint64(number)).chance(m.faults.Uploads) {
		return 0
	}
	return source.Slot(m.faults.UploadAfter.Milliseconds())
}

// clockRange returns how far the clock can be off, at most.
func (m media) clockRange(producer bool) source.Slot {
	if !producer {
		return 0
	}
	most := source.Slot(0)
	for _, e := range m.eras {
		most = max(most, e.behind, -e.behind)
	}
	return most + source.Slot((m.faults.Clock + m.faults.Drift).Milliseconds())
}
