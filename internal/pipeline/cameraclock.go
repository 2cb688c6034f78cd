package pipeline

import (
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// notableTrail is how far a camera's clock has to be off, or to change, to be logged.
const notableTrail = 5 * time.Second

// logClock logs when the camera's clock turns out to be wrong, and when it changes. now is
// the service's time.
func (s *stream) logClock(now time.Time) {
	state := s.feed.State()
	change := state.Trail - s.trail
	if state.Unknown || change.Abs() < notableTrail {
		return
	}
	was := s.trail
	s.trail = state.Trail
	by := state.Trail.Abs().Round(time.Second / 10)
	switch {
	case by < notableTrail:
		s.log.Info("the camera's clock is right again", "was_behind", was.Round(time.Second/10))
	case state.Trail > 0:
		s.log.Warn("the camera's clock is behind", "by", by)
	default:
		s.log.Warn("the camera's clock is ahead", "by", by)
	}
	newest := s.ledger.Stats().Newest
	if present := s.present(now); change > 0 && newest > present {
		s.log.Warn("the camera's clock was set back: until it has caught up, what it records falls into slots that have ended, and is not published",
			"by", change.Round(time.Second/10), "until", newest.String())
	}
}

// present returns the present by the clock of the slots.
func (s *stream) present(now time.Time) source.Slot {
	return source.SlotAt(now.Add(-s.feed.State().Behind))
}
