package publish

// A GapMode says how a [Delivery] tells consumers of gaps.
type GapMode int

const (
	// NoGaps tells of none.
	NoGaps GapMode = iota
	// GapEvents publishes an event on the [GapSubject] of the stream: see
	// [NewGapMessage].
	GapEvents
	// InlineGaps publishes a message in the place of the tensors that are missing, on
	// each of their subjects: see [NewInlineGap].
	InlineGaps
)
