package poll

import "time"

// The polls that many streams have due at the same time are spread.
const (
	spreadEach = 50 * time.Millisecond // for each hundred streams
	spreadMost = 5 * time.Second
)

// SpreadOver returns what suits [Options.Spread] where so many streams are read by one
// process: up to 5 s. As few streams as one machine usually has are not worth it.
func SpreadOver(streams int) time.Duration {
	return min(time.Duration(streams/100)*spreadEach, spreadMost)
}
