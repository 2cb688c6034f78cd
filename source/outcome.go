package source

import "errors"

// Why an [Image] has no picture, or a window no images.
var (
	// ErrNoMedia: no media for this instant. Near the live edge, and at the start
	// of a window, it only means "not in this answer".
	ErrNoMedia = errors.New("no media")
	// ErrMedia: there is media, but the service could not make a picture of it.
	ErrMedia = errors.New("media error")
)

// Why a stream cannot be read at all, which no retry within seconds mends.
var (
	// ErrNoStream: there is no such stream, or it keeps no media.
	ErrNoStream = errors.New("no such stream")
	// ErrRefused: the credentials are missing or lack a permission.
	ErrRefused = errors.New("refused")
)

// An Outcome is how a slot ended. Every slot ends in exactly one.
type Outcome uint8

// The outcomes, in the order in which they are reported.
const (
	// Pending: not ended yet. The zero value.
	Pending Outcome = iota
	// Published: delivered; in the modes with acks, acknowledged.
	Published
	// NoMedia: still no media when the grace ran out.
	NoMedia
	// MediaError: the service could not make a picture of the media.
	MediaError
	// Undecodable: the bytes are not a whole, sane JPEG or PNG.
	Undecodable
	// Stale: older than the freshness limit when its turn came.
	Stale
	// Dropped: refused by the broker, or by the mode's drop policy.
	Dropped

	outcomes
)

var outcomeNames = [outcomes]string{
	"pending", "published", "no_media", "media_error", "undecodable", "stale", "dropped",
}

// String returns the outcome's name as in metrics and messages: "no_media".
func (o Outcome) String() string {
	if o >= outcomes {
		return "invalid"
	}
	return outcomeNames[o]
}

// Outcomes returns the ends that a slot can come to: all but [Pending].
func Outcomes() []Outcome {
	return []Outcome{Published, NoMedia, MediaError, Undecodable, Stale, Dropped}
}
