package ondemand

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrSpent says that the images of the day have been used up.
var ErrSpent = errors.New("the images of the day for requests are used up")

const day = 24 * time.Hour

// spent counts the images of a day. Days are measured by the monotonic clock: a clock that
// is set makes no new one.
type spent struct {
	limit int

	mu     sync.Mutex
	began  time.Time
	images int
}

// Spend counts images that are about to be fetched. The error wraps [ErrSpent], and then
// they must not be.
func (f *Frames) Spend(images int) error { return f.spent.add(images) }

func (s *spent) add(images int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.began.IsZero() || now.Sub(s.began) >= day {
		s.began, s.images = now, 0
	}
	if s.images+images > s.limit {
		end := s.began.Add(day)
		return fmt.Errorf("%w: %d (requests.images_per_day): ask again in %v, at %s",
			ErrSpent, s.limit, end.Sub(now).Round(time.Second), end.UTC().Format(time.RFC3339))
	}
	s.images += images
	return nil
}

// giveBack takes images out again that were counted at a time, unless that day is over.
func (s *spent) giveBack(at time.Time, images int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !at.Before(s.began) {
		s.images = max(s.images-images, 0)
	}
}

// wait returns how long the day still lasts.
func (s *spent) wait(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.began.Add(day).Sub(now), 0)
}

func isSpent(err error) bool { return errors.Is(err, ErrSpent) }
