package kinesistest

import (
	"fmt"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// An Instant tells what there is of a stream at one time.
type Instant struct {
	// Time is the instant, by the clock that was asked for.
	Time time.Time
	// Exists tells whether there is media. Where it is false, the rest is zero.
	Exists bool
	// Visible is from when on the media can be asked for, zero for never. Gone is
	// until when: its retention ends.
	Visible, Gone time.Time
	// MediaError tells that no picture can be made of the media.
	MediaError bool
	// Start and End are those of the fragment, by the service's clock: a window has
	// the instant only where Start (by the clock that the window is in) lies within.
	Start, End time.Time
}

// Media tells, for every whole multiple of interval since the Unix epoch that lies
// in [from, to), what there is of the stream by the service's clock: the truth that
// what a client got can be compared with. It knows streams that were removed, and
// nothing of what a [Scene], [Options.Intercept] and [Options.Corrupt] do. It
// returns an error where there has never been such a stream, and for intervals that
// no stream can be sampled at.
func (s *Server) Media(stream string, from, to time.Time, interval time.Duration) ([]Instant, error) {
	return s.truth(stream, from, to, interval, false)
}

// ProducerMedia is Media by the clock of the camera. Where it has jumped back and
// two fragments hold an instant, the one that is visible first counts.
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
		all = append(all, st.media.instant(t, producer))
	}
	return all, nil
}

// instant returns what there is at t.
func (m media) instant(t source.Slot, producer bool) Instant {
	at := Instant{Time: t.Time()}
	for f := range m.holding(t, producer) {
		visible, ok := m.visibleFrom(f)
		gone := f.start.Time().Add(m.retention)
		if !ok || visible.After(gone) { // expires before it can be seen
			visible = time.Time{}
		}
		earlier := !visible.IsZero() && (at.Visible.IsZero() || visible.Before(at.Visible))
		if !at.Exists || earlier {
			at = Instant{
				Time: at.Time, Exists: true, Visible: visible, Gone: gone, MediaError: m.broken(f),
				Start: f.start.Time(), End: f.end.Time(),
			}
		}
	}
	return at
}
