package forecast

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

const (
	// resolution is the distance of the instants at which media is looked for: the least
	// that GetImages allows.
	resolution = source.MinInterval
	// lookPause is the pause between two looks for new media.
	lookPause = 500 * time.Millisecond
	// scoutRange and scoutStep are those of the window in which media is looked for first.
	scoutRange = time.Minute
	scoutStep  = 3 * time.Second
)

// ErrNoMedia says that a stream has no media at present, so that nothing can be found out
// about it.
var ErrNoMedia = errors.New("there is no media of the last minute: is the camera on?")

// ErrNothingNew says that no media has become visible for so long that the camera seems to
// be off.
var ErrNothingNew = errors.New("nothing new has become visible for a minute: is the camera on?")

// errLost says that the edge is not where it seemed to be: while it was looked for, more
// media has become visible.
var errLost = errors.New("the live edge is lost")

// lostAfter is how much later than usual new media may be until the edge counts as lost:
// longer than a fragment takes of which nothing is known yet.
const lostAfter = 2 * poll.MaxFragment

// A Scout finds out how a stream's media becomes visible, by asking for as few images as
// possible.
type Scout struct {
	// Ask asks for a window, and returns the slots of which there is a picture, in order.
	Ask func(context.Context, poll.Window) ([]source.Slot, error)
	// Now is the present by the clock of the media.
	Now func() time.Time
}

// A Fragment is one that was seen to become visible.
type Fragment struct {
	// First and Last are its first and last slot, to a fifth of a second.
	First, Last source.Slot
	// Hidden is when it was last asked for in vain, and Seen when it was found.
	Hidden, Seen source.Slot

	whole bool // it is one fragment, as far as can be told
}

// Length returns the length of the fragment.
func (f Fragment) Length() time.Duration { return f.Last.Sub(f.First) + resolution }

// Delay returns how long after its end the fragment was visible, at most.
func (f Fragment) Delay() time.Duration { return max(f.Seen.Sub(f.Last.Add(resolution)), 0) }

// Edge returns a slot that has media and after which, within three seconds, there is some
// that has none yet: the newest of the last minute.
func (s Scout) Edge(ctx context.Context) (source.Slot, error) {
	now := source.SlotAt(s.Now())
	found, err := s.Ask(ctx, poll.Window{Start: now.Add(-scoutRange), End: now, Interval: scoutStep})
	switch {
	case err != nil:
		return 0, err
	case len(found) == 0:
		return 0, ErrNoMedia
	}
	return slices.Max(found), nil
}

// Follow watches the live edge until n fragments have become visible or ctx ends, and
// returns those that were seen whole. An error leaves what was seen before it.
func (s Scout) Follow(ctx context.Context, n int) ([]Fragment, error) {
	var last Fragment
	var seen []Fragment
	err := errLost // nothing is known of it yet
	for len(seen) < n {
		if errors.Is(err, errLost) {
			last, err = s.exactEdge(ctx)
		}
		if err == nil {
			last, err = s.next(ctx, last, scoutStep/3)
		}
		switch {
		case err == nil && last.whole:
			seen = append(seen, last)
		case err != nil && !errors.Is(err, errLost):
			return seen, err
		}
	}
	return seen, nil
}

// exactEdge returns what became visible last, whose last slot is the edge, by waiting for it.
func (s Scout) exactEdge(ctx context.Context) (Fragment, error) {
	edge, err := s.Edge(ctx)
	if err != nil {
		return Fragment{}, err
	}
	return s.next(ctx, Fragment{Last: edge}, scoutStep)
}

// next waits until there is media after the last fragment, which is at most as far away as
// given, and finds out how far it reaches. If the usual length of a fragment is known, it does
// not look before one has passed.
func (s Scout) next(ctx context.Context, last Fragment, within time.Duration) (Fragment, error) {
	edge, usual := last.Last, time.Duration(0)
	if last.whole {
		usual = last.Length()
	}
	f := Fragment{First: edge.Add(resolution)}
	// The next fragment may begin right after the edge, or up to a frame before it, and a
	// window that begins after the fragment does not find it.
	// Nor does a window of less than a second, at times.
	look := poll.Window{Start: edge.Add(-time.Second) + 1, End: edge.Add(within) + 1, Interval: time.Second}
	if err := pacing.Sleep(ctx, last.Seen.Add(usual-2*lookPause).Sub(source.SlotAt(s.Now()))); err != nil {
		return f, err
	}
	for {
		now := source.SlotAt(s.Now())
		found, err := s.Ask(ctx, look)
		if err != nil {
			return f, err
		}
		if len(found) > 0 && slices.Max(found) > edge {
			f.Seen = now
			break
		}
		f.Hidden = now
		switch waited := now.Sub(edge); {
		case waited > scoutRange:
			return f, ErrNothingNew
		case within < scoutStep && waited > usual+lostAfter:
			return f, errLost // the edge was to be exact
		}
		if err := pacing.Sleep(ctx, lookPause); err != nil {
			return f, err
		}
	}
	end, atOnce, err := s.last(ctx, look.Start)
	f.Last = end
	// If it was not looked for as often as that, it may be two.
	f.whole = atOnce && (f.Seen.Sub(f.Hidden) < f.Length() || f.Length() <= usual+resolution)
	return f, err
}

// last returns the last slot that is visible now of the media that begins after start, and
// whether that became visible at once: if more has become visible while it was looked for, that
// is some of the next fragment, too.
func (s Scout) last(ctx context.Context, start source.Slot) (last source.Slot, atOnce bool, err error) {
	for atOnce = true; ; atOnce = false {
		var more bool
		last, more, err = s.bisect(ctx, start)
		if err != nil || !more {
			return last, atOnce, err
		}
	}
}

// bisect returns the last slot that is visible of the media after start, first roughly, on one
// page, and then by bisection, and whether there is more by now.
func (s Scout) bisect(ctx context.Context, start source.Slot) (last source.Slot, more bool, err error) {
	now := source.SlotAt(s.Now())
	step := (now.Sub(start)/(poll.PageSlots-1) + resolution).Truncate(resolution)
	found, err := s.Ask(ctx, poll.Window{Start: start, End: now, Interval: step})
	switch {
	case err != nil:
		return 0, false, err
	case len(found) == 0:
		return 0, false, errors.New("media that was visible is no longer")
	}
	last = slices.Max(found)
	if step == resolution {
		return last, false, nil // one answer shows the end
	}
	visible := func(at source.Slot) (bool, error) {
		found, err := s.Ask(ctx, poll.Window{Start: start, End: at, Interval: at.Sub(start)})
		return slices.Contains(found, at), err
	}
	for step > resolution {
		step = (step / 2).Round(resolution)
		there, err := visible(last.Add(step))
		if err != nil {
			return 0, false, err
		}
		if there {
			last = last.Add(step)
		}
	}
	more, err = visible(last.Add(resolution))
	return last, more, err
}
