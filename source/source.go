// Package source describes where frames come from: frames on a grid of time, an account
// of every one of them, and the contracts of what supplies them.
//
// Time is divided into slots ([Grid]): the whole multiples of the stream's sampling
// interval since the Unix epoch. A [Feed] yields the frames of a stream in slot order,
// and a [Ledger] knows the outcome of every slot; the metrics are read from it.
// [Cursors] keep how far each stream was delivered.
//
//	grid, err := source.NewGrid(200 * time.Millisecond)
//	ledger := source.NewLedger(grid, source.SlotAt(time.Now()))
//	feed := open(ledger) // a Feed, for example of package poll
//	for frame, err := range feed.Frames(ctx) {
//		if err != nil {
//			log.Print(err) // continuing the loop tries again
//			continue
//		}
//		// Use frame.Data, then say how the slot ended:
//		ledger.Resolve(frame.Slot, source.Published)
//	}
//
// The package imports the standard library only. The feed that polls Amazon Kinesis
// Video Streams is source/poll over source/kinesis; source/sourcetest has the suites
// that every feed and every store of cursors passes.
//
// Importers can rely on [Slot], [Grid], [Frame], [Outcome] with its names, and the
// errors. [Feed], [Cursors] and [Ledger] connect the parts of cvfeeder, and may gain
// methods with any release; [Buffers] may change.
package source

import "time"

// A Frame is one encoded picture of a stream.
type Frame struct {
	// Stream is the name of the camera's stream.
	Stream string
	// Slot is the instant that the frame stands for.
	Slot Slot
	// Capture is the service's own timestamp of the picture, usually within milliseconds
	// of the slot.
	Capture time.Time
	// Trail is how far the clock of the slot is behind that of the service: see
	// [FeedState].
	Trail time.Duration
	// Late says that the slot had ended as [NoMedia] before its picture turned up: the
	// frame is out of order, and its slot's outcome stays.
	Late bool
	// Data holds the encoded picture (JPEG or PNG) as it was received: nothing in it has
	// been checked.
	Data []byte
	// Recycle, if set, hands Data's memory back for other frames. It may be called at
	// most once, when nobody reads Data any more. Calling it is optional.
	Recycle func()
}
