package kinesistest

import (
	"fmt"
	"iter"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// An Instant is what there is of a stream at one time.
type Instant struct {
	// Time is the instant, by the clock that was asked for.
	Time time.Time
	// Exists tells whether there is media. If it is false, the fields below are zero.
	Exists bool
	// Visible is the time from which on the media can be asked for, zero for never. Gone
	// is the time at which its retention ends, or its stream was deleted.
	Visible, Gone time.Time
	// Pictures is the time from which on pictures can be made of the media, unless they
	// never can; zero if it never becomes visible.
	Pictures time.Time
	// MediaError tells that no picture can be made of the media.
	MediaError bool
	// Start and End are those of the fragment, by the service's clock. A window finds the
	// instant only if Start, by the clock of the window, lies within it.
	Start, End time.Time
}

// Media returns what there is of the stream, by the service's clock, at every whole
// multiple of interval since the Unix epoch that lies in [from, to): the truth to compare
// a client's results with. It knows removed streams, too, and leaves out of account what a
// [scene.Scene], [Options.Intercept] and [Options.Corrupt] do. It returns an error if there
// has never been such a stream, and for intervals that no stream can be sampled at.
func (s *Server) Media(stream string, from, to time.Time, interval time.Duration) ([]Instant, error) {
	return s.truth(stream, from, to, interval, false)
}

// ProducerMedia is Media by the camera's clock. If that has jumped back and two fragments
// hold an instant, the one that is visible first counts.
func (s *Server) ProducerMedia(stream string, from, to time.Time, interval time.Duration) ([]Instant, error) {
	return s.truth(stream, from, to, interval, true)
}

func (s *Server) truth(name string, from, to time.Time, interval time.Duration, producer bool) ([]Instant, error) {
	st := s.streams.known(name)
	if st == nil {
		return nil, fmt.Errorf("fake Kinesis Video service: there is no stream %q", name)
	}
	grid, err := source.NewGrid(interval)
	if err != nil {
		return nil, fmt.Errorf("fake Kinesis Video service: %w", err)
	}
	var all []Instant
	for t := grid.Ceil(source.SlotAt(from)); t.Time().Before(to); t = grid.Step(t, 1) {
		all = append(all, st.media.instant(t, grid, producer))
	}
	return all, nil
}

// instant returns what there is at t.
func (m media) instant(t source.Slot, grid source.Grid, producer bool) Instant {
	at := Instant{Time: t.Time()}
	for f := range m.showing(t, grid, producer) {
		visible, ok := m.visibleFrom(f)
		start := m.begin(f, false)
		gone := m.gone(f)
		if !ok || visible.After(gone) { // it expires before it becomes visible
			visible = time.Time{}
		}
		earlier := !visible.IsZero() && (at.Visible.IsZero() || visible.Before(at.Visible))
		if !at.Exists || earlier {
			pictures := visible
			if !visible.IsZero() {
				pictures = m.picturesFrom(f, visible)
			}
			at = Instant{
				Time: at.Time, Exists: true, Visible: visible, Gone: gone, Pictures: pictures, MediaError: m.broken(f),
				Start: start.Time(), End: (start + f.end - f.start).Time(),
			}
		}
	}
	return at
}

// showing returns the fragments with a picture for t, or one whose own timestamp is closer
// to t than to any other slot.
func (m media) showing(t source.Slot, grid source.Grid, producer bool) iter.Seq[fragment] {
	return func(yield func(fragment) bool) {
		// The frame before the next slot may be closer to t.
		for _, asked := range []source.Slot{t, grid.Step(t, 1)} {
			for f := range m.holding(asked, producer) {
				_, stamp, ok := m.shown(f, asked, grid.Interval(), producer)
				if ok && grid.Nearest(stamp) == t && !yield(f) {
					return
				}
			}
		}
	}
}
