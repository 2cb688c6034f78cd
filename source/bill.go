package source

// A Cause is why an image is asked for, and paid.
type Cause uint8

// The causes, in the order in which they are reported.
const (
	// ForLive: a slot of a stream.
	ForLive Cause = iota
	// ForBurst: one of a time that is looked at more closely.
	ForBurst
	// ForReplay: one of a range that a job reads again.
	ForReplay
	// ForRequest: a frame that somebody asked for, or one of a range of them.
	ForRequest
	// ForOverlap: a slot before those that are wanted, without which the service does not find
	// the media.
	ForOverlap
	// ForRetry: a slot that was asked for before, because it had no picture yet, or because the
	// request failed.
	ForRetry

	causes
)

var causeNames = [causes]string{"live", "burst", "replay", "request", "overlap", "retry"}

// String returns the cause's name as in metrics: "live".
func (c Cause) String() string {
	if c >= causes {
		return "invalid"
	}
	return causeNames[c]
}

// Causes returns all causes.
func Causes() []Cause {
	return []Cause{ForLive, ForBurst, ForReplay, ForRequest, ForOverlap, ForRetry}
}

// A Bill counts images by [Cause].
type Bill [causes]uint64

// Sum returns how many images there are in all.
func (b Bill) Sum() (n uint64) {
	for _, images := range b {
		n += images
	}
	return n
}

// Plus returns the sum of two bills.
func (b Bill) Plus(other Bill) Bill {
	for c, images := range other {
		b[c] += images
	}
	return b
}
