// Package source turns what a camera has stored into frames on a time grid, and
// accounts for every one of them.
//
// Time is divided into slots ([Grid]): the whole multiples of the stream's
// sampling interval. A [Poller] asks a [Fetcher] for windows of slots and yields
// the frames in slot order; a [Ledger] knows the outcome of every slot and is
// what the metrics are read from. Where to look for a slot, and when to give it
// up, is decided by [Plan], a pure function.
//
//	grid, err := source.NewGrid(200 * time.Millisecond)
//	ledger := source.NewLedger(grid, grid.Ceil(source.SlotAt(time.Now())))
//	poller := source.NewPoller(fetcher, ledger, source.Options{
//		Stream: "front-door", Lag: source.Auto, Overlap: source.Auto,
//	})
//	for frame, err := range poller.Frames(ctx) {
//		if err != nil {
//			log.Print(err) // going on is to try again
//			continue
//		}
//		// use frame.Data, then say how it ended:
//		ledger.Resolve(frame.Slot, source.Published)
//	}
//
// The package imports the standard library only. The real service is
// source/kinesis; a fake of it for tests is source/kinesis/kinesistest.
package source

import (
	"context"
	"iter"
	"time"
)

// A Frame is one encoded picture of a stream.
type Frame struct {
	// Stream is the name of the camera's stream.
	Stream string
	// Slot is the instant the frame stands for.
	Slot Slot
	// Capture is the service's own timestamp of the picture, usually within
	// milliseconds of the slot.
	Capture time.Time
	// Data holds the encoded picture (JPEG or PNG), exactly as it was received:
	// nothing in it has been checked.
	Data []byte
	// Recycle, where set, hands Data's memory back for other frames. It may be called
	// once, when nobody reads Data any more, or left out.
	Recycle func()
}

// An Image is one entry of the service's answer: a picture or the reason why
// there is none.
type Image struct {
	// Time is the timestamp that the service gave the entry.
	Time time.Time
	// Data is the encoded picture, nil where Err is set. It belongs to the
	// receiver.
	Data []byte
	// Recycle is that of [Frame].
	Recycle func()
	// Err tells why there is no picture: [ErrNoMedia] or [ErrMedia].
	Err error
}

// A Fetcher asks the service for images.
//
// Images asks for the slots of w and yields what the service answers, in any
// order, perhaps more than once, perhaps off the grid: a caller trusts none of
// it. An error ends the sequence, and what was yielded before it stands. The
// sequence may be abandoned at any point. A Fetcher retries what can be retried
// and returns errors that wrap [ErrEmptyWindow] where the service has nothing at
// all in the window.
type Fetcher interface {
	Images(ctx context.Context, w Window) iter.Seq2[Image, error]
}

// A Window is a run of slots to ask for: Start, Start+Interval, … up to and
// including End.
type Window struct {
	Start, End Slot
	Interval   time.Duration
}

// Slots returns the number of slots in the window.
func (w Window) Slots() int {
	if w.End < w.Start || w.Interval <= 0 {
		return 0
	}
	return int(w.End.Sub(w.Start)/w.Interval) + 1
}
