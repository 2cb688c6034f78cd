package poll

import "time"

// Polls of many streams that are due at the same time are spread out.
const (
	spreadEach = 50 * time.Millisecond // for each hundred streams
	spreadMost = 5 * time.Second
)

// SpreadOver returns a value for [Options.Spread] that suits a process with so many
// streams: up to 5 s, and 0 for fewer than 100 streams.
func SpreadOver(streams int) time.Duration {
	return min(time.Duration(streams/100)*spreadEach, spreadMost)
}
