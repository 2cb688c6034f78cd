package poll

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// An Image is one entry of the service's answer: a picture, or the reason why there is
// none.
type Image struct {
	// Time is the timestamp that the service gave the entry.
	Time time.Time
	// Data is the encoded picture, nil where Err is set. It belongs to the receiver.
	Data []byte
	// Recycle is that of [source.Frame].
	Recycle func()
	// Err says why there is no picture: [source.ErrNoMedia], [source.ErrMedia] or
	// [ErrNoContent].
	Err error
}

// A Fetcher asks the service for images. It is safe for concurrent use.
//
// Images asks for the slots of w and yields what the service answers: in any order,
// perhaps more than once, perhaps off the grid; callers check all of it. An error ends
// the sequence, and what was yielded before it stands. The sequence may be abandoned at
// any point. A Fetcher retries what can be retried, and yields an error that wraps
// [ErrEmptyWindow] if the service has nothing at all in the window.
type Fetcher interface {
	Images(ctx context.Context, w Window) iter.Seq2[Image, error]
}

// A Pager is a [Fetcher] that knows how many images the service puts into one page.
type Pager interface {
	// PageSlots returns how many images a page usually holds, from 1 to [PageSlots]. It
	// is safe for concurrent use.
	PageSlots() int
}

// as returns what a fetcher can do besides, which one that wraps it may hide: such a one
// has a method Unwrap.
func as[T any](f Fetcher) (T, bool) {
	for {
		if t, ok := f.(T); ok {
			return t, true
		}
		wrapped, ok := f.(interface{ Unwrap() Fetcher })
		if !ok {
			var none T
			return none, false
		}
		f = wrapped.Unwrap()
	}
}

// ErrEmptyWindow is the error of a [Fetcher] if the service has no media in the whole
// window.
var ErrEmptyWindow = errors.New("no media in the window")

// ErrNoContent is the Err of an [Image] for which the service gave neither a picture nor a
// reason. It wraps [source.ErrNoMedia].
var ErrNoContent = fmt.Errorf("%w: neither content nor error", source.ErrNoMedia)

// A Window is a run of slots to ask for: Start, Start+Interval, … up to and including
// End.
type Window struct {
	Start, End source.Slot
	Interval   time.Duration
	// Final tells that the grace of slots is over: those that the answer has no media of
	// end. A Fetcher makes sure that such an answer is true.
	Final bool
	// Cause is why the images are asked for, but for the first ones: as many as Overlap overlap,
	// and as many as Again after these are asked for once more.
	Cause          source.Cause
	Overlap, Again int
}

// CauseOf returns why the image of the i-th slot is asked for.
func (w Window) CauseOf(i int) source.Cause {
	switch {
	case i < w.Overlap:
		return source.ForOverlap
	case i < w.Overlap+w.Again:
		return source.ForRetry
	}
	return w.Cause
}

// Slots returns the number of slots in the window.
func (w Window) Slots() int {
	if w.End < w.Start || w.Interval <= 0 {
		return 0
	}
	return int(w.End.Sub(w.Start)/w.Interval) + 1
}
