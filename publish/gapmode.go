package publish

// A GapMode says how a [Delivery] announces gaps to consumers.
type GapMode int

const (
	// NoGaps announces none.
	NoGaps GapMode = iota
	// GapEvents publishes an event on the [GapSubject] of the stream: see
	// [NewGapMessage].
	GapEvents
	// InlineGaps publishes a message in place of the missing tensors, on each of their
	// subjects: see [NewInlineGap].
	InlineGaps
)

// String returns the mode as config files name it.
func (m GapMode) String() string {
	switch m {
	case GapEvents:
		return "events"
	case InlineGaps:
		return "inline"
	default:
		return "none"
	}
}
