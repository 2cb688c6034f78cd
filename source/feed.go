package source

import (
	"context"
	"iter"
	"time"
)

// A Feed is the frames of one stream, wherever they come from. It is made with the
// stream's [Ledger], in which it claims the slots of the frames that it yields.
//
// Every implementation passes the suite of source/sourcetest.
type Feed interface {
	// Frames yields the frames in slot order, each once, as they become available. It
	// is called once. Each frame's slot has been claimed by [Ledger.Take]: the receiver
	// says how it ended with [Ledger.Resolve]. Slots that have no picture are ended by
	// the feed, with [Ledger.GiveUp]. Frames that turned up late, see [Frame.Late], come
	// in any order, and their slots are not resolved.
	//
	// A failed request is yielded as an error with an empty frame; continuing the loop
	// tries again after a growing pause. An error that wraps [ErrRefused] says that the
	// credentials were refused. The sequence ends when ctx does, or when every slot of
	// the feed's range has ended or was yielded. Nothing is requested while the caller
	// works on a frame: that is the back-pressure. A feed that reads ahead, see package
	// poll/ahead, first fills a bounded room.
	Frames(ctx context.Context) iter.Seq2[Frame, error]
	// Frame fetches the picture of one slot, whether or not Frames has yielded it or is
	// running. The ledger is left alone. It is safe for concurrent use. Errors wrap
	// [ErrNoMedia] or [ErrMedia], or are ctx's or those of the request.
	Frame(ctx context.Context, s Slot) (Frame, error)
	// State returns the feed's state. It is safe for concurrent use.
	State() FeedState
}

// A FeedState is the state of a [Feed] at one instant.
type FeedState struct {
	// HeldBytes is the size of the frames that have arrived but wait for an earlier slot.
	// It is 0 after the end of Frames.
	HeldBytes int64
	// Lag is how far behind now the feed reads, and Overlap how much it reads twice so
	// that nothing is missed; 0 if that does not apply.
	Lag, Overlap time.Duration
	// Trail is how far the clock of the slots is behind that of the service, negative if
	// it is ahead: slots may be of a camera's clock, which may be wrong. 0 if the clock is
	// the service's.
	Trail time.Duration
	// Behind is how far the feed's present is behind that of the service: about as far as
	// the clock of the slots.
	Behind time.Duration
	// Unknown says that it is not known where the camera's clock stands: at the start, or
	// because it was set.
	Unknown bool
	// Wait is how long after its instant a slot without a picture is waited for, at most:
	// so long its stream may stand still without being stalled. 0 if that does not apply.
	Wait time.Duration
	// Fragment is how long the media's fragments are, and Visible how long after its instant a
	// slot usually is visible, at the latest; 0 while that is not known.
	Fragment, Visible time.Duration
	// Resting says that the stream could be read, and is not, because nobody wants the frames.
	Resting bool
	// Pace is how far apart the slots are that are asked for, where that is wider than the
	// stream's interval for now; negative if none is. The others end as [Skipped].
	Pace time.Duration
}

// An OpenFeed makes the feed of a stream, which claims its slots in l. The feed calls
// fetched after each request of Frames, with how long it took and how it ended: nil for a
// request that was answered, even if it brought no frame.
type OpenFeed func(l *Ledger, fetched func(took time.Duration, err error)) Feed
