package kinesistest

import (
	"cmp"
	"fmt"
	"time"
)

// Faults are what the real service, the network and the cameras do to a client.
// The zero value is none of it; any may be combined. A share is from 0 to 1.
//
// All is decided by [Options.Seed]: about media by the seed, the stream and the
// fragment; about requests by the seed, the stream, the operation and the number
// of the request, counted for each stream and operation.
type Faults struct {
	// Jitter is the most that a fragment's visibility is delayed beyond the usual.
	Jitter time.Duration
	// Late is the share of fragments that become visible later by up to LateBy
	// (default: 10s), and Never the share that never does.
	Late   float64
	LateBy time.Duration
	Never  float64
	// MediaErrors is the share of the time that has media without keyframes, and
	// Outages the share that has none. Both come in stretches of the length Stretch
	// (default: 10s), to which the fragments that start within belong.
	MediaErrors, Outages float64
	Stretch              time.Duration
	// Clock is how far the camera's clock is off, at most: ahead or behind, by
	// another amount every ClockEvery (default: 1m). Only those who ask by
	// PRODUCER_TIMESTAMP notice. At most 10m.
	Clock, ClockEvery time.Duration

	// Unordered is the share of pages whose entries are in no order, and Duplicates
	// the share of entries that come twice.
	Unordered, Duplicates float64
	// OffGrid is how far the timestamps of images are off, at most. At most 40ms.
	OffGrid time.Duration
	// Outside is the share of pages with an image from outside of the window, and
	// EmptyPages the share of answers that have nothing but a token.
	Outside, EmptyPages float64
	// TokenLife is how long a token of GetImages can be used; 0 is for ever.
	// BadTokens is the share of its requests with a token that are refused all the
	// same.
	TokenLife time.Duration
	BadTokens float64

	// Throttle enforces the documented limits. For a stream: 500 points a second of
	// media (GetImages takes one for an image asked for), 10,000 of metadata
	// (GetImages takes 400 and one for an image, ListFragments one for a fragment),
	// 5 requests a second of GetDataEndpoint and DescribeStream each. For the account:
	// 300 of these, 50 of ListStreams.
	Throttle bool
	// Others is the share of a stream's points that other clients use, on average:
	// from none to twice that, changing every ten seconds. It includes Throttle.
	Others float64
	// ThrottleEndpoint is the share of GetDataEndpoint requests that are throttled
	// whatever the rate.
	ThrottleEndpoint float64

	// Errors is the share of requests that get a 500 or 503, Resets of those whose
	// connection is reset without an answer.
	Errors, Resets float64
	// Cuts is the share of answers that end in the middle, Slow of those that begin
	// late, Trickle of those that come in small pieces. SlowBy is what both take, at
	// most. Default: 5s.
	Cuts, Slow, Trickle float64
	SlowBy              time.Duration
	// NoImages is the share of GetImages requests that are answered with a 200
	// without Images.
	NoImages float64
	// Rotate is how long a data endpoint works. After that it answers in one of the
	// ways of dead endpoints: 404, 403, 200 without Images, a reset connection. So
	// does, while this is set, the address of the service itself. 0 is for ever.
	Rotate time.Duration
	// DenyListFragments refuses ListFragments, as to one without the permission.
	DenyListFragments bool
}

// The limits of what a [Faults] may say.
const (
	maxOffGrid = 40 * time.Millisecond
	maxClock   = 10 * time.Minute
	maxSpan    = 24 * time.Hour
)

func (f Faults) withDefaults() (Faults, error) {
	for _, k := range f.knobs() {
		if err := k.check(); err != nil {
			return f, fmt.Errorf("fault %w", err)
		}
	}
	f.LateBy = cmp.Or(f.LateBy, 10*time.Second)
	f.Stretch = cmp.Or(f.Stretch, 10*time.Second)
	f.ClockEvery = cmp.Or(f.ClockEvery, time.Minute)
	f.SlowBy = cmp.Or(f.SlowBy, 5*time.Second)
	f.Throttle = f.Throttle || f.Others > 0
	return f, nil
}
