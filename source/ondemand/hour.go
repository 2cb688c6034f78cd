package ondemand

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrTooMany says that more images were asked for than any hour or day has.
var ErrTooMany = errors.New("more images than may be spent at all")

// A WaitError says that too few images are left now, and wraps [ErrSpent].
type WaitError struct {
	// Wait is after how long there will be enough.
	Wait time.Duration
	text string
}

// Error implements error.
func (e *WaitError) Error() string { return e.text }

// Unwrap returns [ErrSpent].
func (e *WaitError) Unwrap() error { return ErrSpent }

const (
	hour = time.Hour
	// step is how exactly the times of images are kept.
	step = time.Minute
	// maxAskers is how many askers are remembered at least that have spent something lately.
	// More than that count as one.
	maxAskers = 10_000
	others    = "" // the name of these
)

// hours count the images of the last hour, of each asker and of all.
type hours struct {
	all, each int

	mu     sync.Mutex
	sum    tally
	askers map[string]*tally
	purged time.Time // when those were forgotten that have spent nothing lately
}

// A tally is how many images were spent in each step of the last hour.
type tally struct{ steps []spending }

type spending struct {
	at     time.Time // the begin of the step
	images int
}

// A Reservation is of images that may be spent. Its methods are safe for concurrent use.
type Reservation struct {
	frames *Frames
	asker  string
	at     time.Time

	mu             sync.Mutex
	reserved, used int
	settled        bool
}

// Reserve reserves images for an asker, before any of them is spent. It bounds those of an hour
// and of the day. The error is a [*WaitError] if the asker, or all, have to wait until there are
// enough again, or wraps [ErrTooMany] if there never will be.
func (f *Frames) Reserve(asker string, images int) (*Reservation, error) {
	if images > f.spent.limit {
		return nil, fmt.Errorf("%w: %d of %d a day (requests.images_per_day)", ErrTooMany, images, f.spent.limit)
	}
	now := time.Now()
	if err := f.hours.add(now, asker, images); err != nil {
		return nil, err
	}
	if err := f.spent.add(images); err != nil {
		f.hours.giveBack(now, asker, images)
		return nil, &WaitError{f.spent.wait(now), err.Error()}
	}
	return &Reservation{frames: f, asker: asker, at: now, reserved: images}, nil
}

// Spend counts images that are about to be spent. If more are than were reserved, it reserves
// them; its errors are those of [Frames.Reserve], and then they must not be spent.
func (r *Reservation) Spend(images int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if more := r.used + images - r.reserved; more > 0 {
		extra, err := r.frames.Reserve(r.asker, more)
		if err != nil {
			return err
		}
		r.reserved += extra.reserved
	}
	r.used += images
	return nil
}

// Used returns how many images were spent.
func (r *Reservation) Used() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.used
}

// Settle gives back what was not spent. Nothing is spent afterwards.
func (r *Reservation) Settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if unused := r.reserved - r.used; unused > 0 && !r.settled {
		r.frames.hours.giveBack(r.at, r.asker, unused)
		r.frames.spent.giveBack(r.at, unused)
	}
	r.settled = true
}

// add counts images, or returns why they are too many.
func (h *hours) add(now time.Time, asker string, images int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	mine := h.of(now, asker)
	for _, bound := range []struct {
		tally      *tally
		limit      int
		whose, key string
	}{{mine, h.each, "for each asker", "requests.images_per_hour_per_asker"}, {&h.sum, h.all, "for all askers together", "requests.images_per_hour"}} {
		if images > bound.limit {
			return fmt.Errorf("%w: %d of %d an hour %s (%s)", ErrTooMany, images, bound.limit, bound.whose, bound.key)
		}
		if wait := bound.tally.wait(now, bound.limit-images); wait > 0 {
			return &WaitError{wait, fmt.Sprintf("too few images are left of the %d an hour %s (%s): %d are wanted: ask again in %v",
				bound.limit, bound.whose, bound.key, images, wait.Round(time.Second))}
		}
	}
	mine.add(now, images)
	h.sum.add(now, images)
	return nil
}

// of returns the tally of an asker. Its caller holds the lock.
func (h *hours) of(now time.Time, asker string) *tally {
	if t := h.askers[asker]; t != nil {
		return t
	}
	if len(h.askers) >= maxAskers && now.Sub(h.purged) >= step {
		h.purged = now
		for name, t := range h.askers {
			if t.wait(now, 0) == 0 {
				delete(h.askers, name)
			}
		}
	}
	if len(h.askers) >= maxAskers {
		asker = others
	}
	t := h.askers[asker]
	if t == nil {
		t = &tally{}
		if h.askers == nil {
			h.askers = map[string]*tally{}
		}
		h.askers[asker] = t
	}
	return t
}

// giveBack takes images out again that were counted at a time.
func (h *hours) giveBack(at time.Time, asker string, images int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.askers[asker]; t != nil {
		t.add(at, -images)
	} else if t := h.askers[others]; t != nil {
		t.add(at, -images)
	}
	h.sum.add(at, -images)
}

// wait returns after how long no more than most images were spent within an hour.
func (t *tally) wait(now time.Time, most int) time.Duration {
	for len(t.steps) > 0 && now.Sub(t.steps[0].at) >= hour+step {
		t.steps = t.steps[1:]
	}
	sum := 0
	for _, s := range t.steps {
		sum += s.images
	}
	for _, s := range t.steps {
		if sum <= most {
			break
		}
		if sum -= s.images; sum <= most {
			return s.at.Add(hour + step).Sub(now)
		}
	}
	return 0
}

// add counts images in the step of a time. Of a step that is gone nothing is taken out.
func (t *tally) add(at time.Time, images int) {
	for i := len(t.steps) - 1; i >= 0; i-- {
		s := &t.steps[i]
		if d := at.Sub(s.at); d >= 0 && d < step {
			s.images = max(s.images+images, 0)
			return
		}
	}
	if images > 0 {
		t.steps = append(t.steps, spending{at, images})
	}
}
