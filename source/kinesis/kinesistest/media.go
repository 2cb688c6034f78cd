package kinesistest

import (
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// media knows which fragments of a stream exist, and from when to when they can
// be asked for. It is given the time.
type media struct {
	grid      source.Grid
	delay     time.Duration
	retention time.Duration
	since     time.Time
	outages   []Interval
}

func newMedia(s Stream, o Options) (media, error) {
	grid, err := source.NewGrid(o.Fragment)
	if err != nil {
		return media{}, err
	}
	return media{grid: grid, delay: o.Delay, retention: s.Retention, since: s.Since, outages: s.Outages}, nil
}

// A fragment is the media from start up to but not including end.
type fragment struct{ start, end source.Slot }

// at returns the fragment that would hold t.
func (m media) at(t source.Slot) fragment {
	start := m.grid.Floor(t)
	return fragment{start, m.grid.Step(start, 1)}
}

// visible tells whether f exists and can be asked for at now.
func (m media) visible(f fragment, now time.Time) bool {
	start, end := f.start.Time(), f.end.Time()
	if now.Before(end.Add(m.delay)) || start.Before(now.Add(-m.retention)) || start.Before(m.since) {
		return false
	}
	for _, out := range m.outages {
		if start.Before(out.To) && out.From.Before(end) {
			return false
		}
	}
	return true
}

// has tells whether a window has media for t: fragments are found by their
// start, so the one that was already running when the window opened is not.
func (m media) has(t source.Slot, w source.Window, now time.Time) bool {
	f := m.at(t)
	return f.start >= w.Start && m.visible(f, now)
}

// any tells whether any visible fragment starts within the window.
func (m media) any(w source.Window, now time.Time) bool {
	for start := m.grid.Ceil(w.Start); start <= w.End; start = m.grid.Step(start, 1) {
		if m.visible(m.at(start), now) {
			return true
		}
	}
	return false
}
