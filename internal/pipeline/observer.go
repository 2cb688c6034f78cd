package pipeline

import (
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// An Observer is told what becomes of every stream and of every frame. Metrics, traces
// and the history of the status page are observers; the pipeline itself counts nothing
// but the load of its workers.
type Observer interface {
	// Stream returns what observes a stream, whose first slot is given. It is called
	// before anything is read.
	Stream(s Stream, first source.Slot) StreamObserver
}

// A StreamObserver is told what becomes of one stream. Embed [IgnoreStream] to
// implement only some of it. Its methods are called concurrently.
type StreamObserver interface {
	// Fetched is told that a request to the source was answered, or failed.
	Fetched(took time.Duration, err error)
	// Frame returns what observes a frame, nil for nothing. A requested frame was asked
	// for by [Pipeline.Frame]; the ledger knows nothing of it.
	Frame(f source.Frame, requested bool) FrameObserver
	// Ended is told how a run of slots ended: in order, each slot once. It is called
	// while the ledger is locked, so it must be quick and leave the ledger alone. trail is
	// how far the clock of the slots is behind the service's.
	Ended(from source.Slot, slots int, o source.Outcome, trail time.Duration)
	// GapTold is told that a gap was announced, or why it was not.
	GapTold(g publish.Gap, err error)
	// Removed is told that the stream is no longer read.
	Removed()
}

// A FrameObserver follows one frame through the stages. Its methods are called one
// after the other, in the order in which they stand here. Embed [IgnoreFrame] to
// implement only some of them.
type FrameObserver interface {
	// Decoded is told how long decoding took and how it ended.
	Decoded(took time.Duration, err error)
	// Transformed is told the same of one output's tensor, which is nil after an error.
	Transformed(o *transform.Output, t *transform.Tensor, took time.Duration, err error)
	// Publishing may return a message with more headers in place of m.
	Publishing(output string, m publish.Message) publish.Message
	// Published is told how that message's delivery ended.
	Published(output string, m publish.Message, took time.Duration, err error)
	// Ended is told how the frame's slot ended, and why where it got no tensor. Pending
	// is the outcome of a requested frame, and of one cut short by the end of the run.
	Ended(o source.Outcome, why error)
}

// A GateObserver is a [FrameObserver] that is told about gates, too, before Decoded.
type GateObserver interface {
	// Gated is told how long it took to ask the gates, without waiting for other frames, and
	// how much of each output's picture differed from the last one that passed, 0 to 1.
	// Outputs that could not be compared are left out.
	Gated(took time.Duration, changed map[string]float64)
}

// A BatchObserver is a [FrameObserver] that is told about batches, too, before Ended. What becomes
// of a batch is told to the observers of its first row, and to no Publishing and Published.
type BatchObserver interface {
	// Batched is told how long it took to publish a batch of an output, how that ended, and
	// whether no row was missing.
	Batched(output string, m publish.Message, whole bool, took time.Duration, err error)
	// TooLate is told that the frame came too late to be a row.
	TooLate(output string)
}

// IgnoreStream is a [StreamObserver] that ignores everything.
type IgnoreStream struct{}

// Fetched implements [StreamObserver].
func (IgnoreStream) Fetched(time.Duration, error) {}

// Frame implements [StreamObserver].
func (IgnoreStream) Frame(source.Frame, bool) FrameObserver { return nil }

// Ended implements [StreamObserver].
func (IgnoreStream) Ended(source.Slot, int, source.Outcome, time.Duration) {}

// GapTold implements [StreamObserver].
func (IgnoreStream) GapTold(publish.Gap, error) {}

// Removed implements [StreamObserver].
func (IgnoreStream) Removed() {}

// IgnoreFrame is a [FrameObserver] that ignores everything.
type IgnoreFrame struct{}

// Decoded implements [FrameObserver].
func (IgnoreFrame) Decoded(time.Duration, error) {}

// Transformed implements [FrameObserver].
func (IgnoreFrame) Transformed(*transform.Output, *transform.Tensor, time.Duration, error) {}

// Publishing implements [FrameObserver].
func (IgnoreFrame) Publishing(_ string, m publish.Message) publish.Message { return m }

// Published implements [FrameObserver].
func (IgnoreFrame) Published(string, publish.Message, time.Duration, error) {}

// Ended implements [FrameObserver].
func (IgnoreFrame) Ended(source.Outcome, error) {}

// streamObservers are all observers of one stream.
type streamObservers []StreamObserver

func observe(observers []Observer, s Stream, first source.Slot) streamObservers {
	all := make(streamObservers, len(observers))
	for i, o := range observers {
		all[i] = o.Stream(s, first)
	}
	return all
}

func (all streamObservers) fetched(took time.Duration, err error) {
	for _, o := range all {
		o.Fetched(took, err)
	}
}

func (all streamObservers) frame(f source.Frame, requested bool) frameObservers {
	var seen frameObservers
	for _, o := range all {
		if frame := o.Frame(f, requested); frame != nil {
			seen = append(seen, frame)
		}
	}
	return seen
}

func (all streamObservers) ended(from source.Slot, slots int, outcome source.Outcome, trail time.Duration) {
	for _, o := range all {
		o.Ended(from, slots, outcome, trail)
	}
}

func (all streamObservers) gapTold(g publish.Gap, err error) {
	for _, o := range all {
		o.GapTold(g, err)
	}
}

func (all streamObservers) removed() {
	for _, o := range all {
		o.Removed()
	}
}

// frameObservers are all observers of one frame.
type frameObservers []FrameObserver

func (all frameObservers) gated(took time.Duration, changed map[string]float64) {
	for _, o := range all {
		if g, ok := o.(GateObserver); ok {
			g.Gated(took, changed)
		}
	}
}

func (all frameObservers) decoded(took time.Duration, err error) {
	for _, o := range all {
		o.Decoded(took, err)
	}
}

func (all frameObservers) transformed(out *transform.Output, t *transform.Tensor, took time.Duration, err error) {
	for _, o := range all {
		o.Transformed(out, t, took, err)
	}
}

func (all frameObservers) publishing(output string, m publish.Message) publish.Message {
	for _, o := range all {
		m = o.Publishing(output, m)
	}
	return m
}

func (all frameObservers) published(output string, m publish.Message, took time.Duration, err error) {
	for _, o := range all {
		o.Published(output, m, took, err)
	}
}

func (all frameObservers) batched(b *batched) {
	for _, o := range all {
		if of, ok := o.(BatchObserver); ok {
			of.Batched(b.output, b.m, b.whole, b.took, b.err)
		}
	}
}

func (all frameObservers) late(output string) {
	for _, o := range all {
		if of, ok := o.(BatchObserver); ok {
			of.TooLate(output)
		}
	}
}

func (all frameObservers) ended(outcome source.Outcome, why error) {
	for _, o := range all {
		o.Ended(outcome, why)
	}
}
