package pacing

import "time"

// A Backoff gives the pauses between the attempts of something that fails: they double
// from Min to Max, each varied at random by up to half of itself either way. It is used
// by one goroutine.
type Backoff struct {
	// Min and Max of a pause, before it is varied.
	Min, Max time.Duration

	last time.Duration // 0 before the first failure
}

// Next returns the pause before the next attempt.
func (b *Backoff) Next() time.Duration {
	switch {
	case b.last == 0:
		b.last = min(b.Min, b.Max)
	case b.last > b.Max/2:
		b.last = b.Max
	default:
		b.last *= 2
	}
	return Jitter(b.last, b.last/2)
}

// Reset is called after a success: the next pause is Min again.
func (b *Backoff) Reset() { b.last = 0 }
