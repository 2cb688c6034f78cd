package source

import "errors"

// Why there is no picture for a slot.
var (
	// ErrNoMedia: there is no media for this instant. In a single answer of GetImages, near
	// the live edge and at the start of a window, it only means "not in this answer".
	ErrNoMedia = errors.New("no media")
	// ErrMedia: there is media, but the service cannot make a picture of it.
	ErrMedia = errors.New("media error")
)

// Why a stream cannot be read at all. Retrying within seconds does not help.
var (
	// ErrNoStream: there is no such stream, or it keeps no media.
	ErrNoStream = errors.New("no such stream")
	// ErrRefused: the credentials are missing or lack a permission.
	ErrRefused = errors.New("refused")
	// ErrExpired: the credentials have expired. They come right without a restart once they
	// are renewed where they come from.
	ErrExpired = errors.New("credentials expired")
	// ErrThrottled: the service has had too many requests.
	ErrThrottled = errors.New("throttled")
	// ErrUnconfirmed: an answer without media may come from the wrong place, and the right
	// one could not be asked for.
	ErrUnconfirmed = errors.New("cannot be confirmed")
)

// An Outcome is how a slot ended. Every slot ends in exactly one.
type Outcome uint8

// The outcomes, in the order in which they are reported.
const (
	// Pending, the zero value: the slot has not ended yet.
	Pending Outcome = iota
	// Published: delivered; in the modes with acks, acknowledged.
	Published
	// Unwatched: nobody listens to what the frame would have been turned into. It may not
	// have been asked for.
	Unwatched
	// Unchanged: the frame came, and shows nothing that the one published before it does
	// not: the gates of its outputs have held it back.
	Unchanged
	// Skipped: left out on purpose, and not asked for, because the stream is asked for less
	// often than its interval for now, or not at all.
	Skipped
	// NoMedia: there was still no media when the grace was over.
	NoMedia
	// MediaError: the service cannot make a picture of the media.
	MediaError
	// Undecodable: the bytes are not a whole, sane JPEG or PNG.
	Undecodable
	// Stale: older than the freshness limit before it was published.
	Stale
	// Dropped: refused by the broker, or dropped by the policy of the delivery mode.
	Dropped

	outcomes
)

var outcomeNames = [outcomes]string{
	"pending", "published", "unwatched", "unchanged", "skipped", "no_media", "media_error", "undecodable", "stale", "dropped",
}

// String returns the outcome's name as in metrics and messages: "no_media".
func (o Outcome) String() string {
	if o >= outcomes {
		return "invalid"
	}
	return outcomeNames[o]
}

// Lost tells whether somebody lacks the tensors of a slot that ended so: all but Pending,
// Published, Unwatched, Unchanged and Skipped.
func (o Outcome) Lost() bool { return o > Skipped && o < outcomes }

// Outcomes returns all outcomes that a slot can end in: all but [Pending].
func Outcomes() []Outcome {
	return []Outcome{Published, Unwatched, Unchanged, Skipped, NoMedia, MediaError, Undecodable, Stale, Dropped}
}
