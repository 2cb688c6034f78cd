package kinesistest

import (
	"cmp"
	"fmt"
	"time"

	"github.com/cvfeeder/cvfeeder/source/poll"
)

// Faults are what the real service, the network and the cameras do to a client. The zero
// value is none of it; any may be combined. A share is from 0 to 1.
//
// Everything is decided by [Options.Seed]: for media by the seed, the stream and the
// fragment; for requests by the seed, the stream, the operation, and the number of the
// request among those of the stream and operation.
type Faults struct {
	// Jitter is the longest extra delay until a fragment becomes visible.
	Jitter time.Duration
	// Late is the share of fragments that become visible later by up to LateBy (default:
	// 10s), and Never the share that never becomes visible.
	Late   float64
	LateBy time.Duration
	Never  float64
	// Later is how much later all fragments become visible, at most: by another amount
	// every LaterEvery (default: 10m).
	Later, LaterEvery time.Duration
	// MediaErrors is the share of the time whose media has no keyframes, and Outages the
	// share that has no media. Both come in stretches of length Stretch (default: 10s),
	// and affect the fragments that start within one.
	MediaErrors, Outages float64
	Stretch              time.Duration
	// EarlyErrors, EarlyBare and EarlyEmpty are the shares of fragments of which there are
	// no pictures for EarlyFor (default: 1s) after they became visible: images are a
	// MEDIA_ERROR, have neither content nor error, or have an empty content.
	EarlyErrors, EarlyBare, EarlyEmpty float64
	EarlyFor                           time.Duration
	// FrameEvery is the distance between the frames of a camera that has fewer than clients
	// may ask for; 0 is a frame at any instant. Each fragment begins with a frame.
	// FrameJitter is how much later a frame may come, less than FrameEvery, and FrameDrops
	// the share of frames that the camera leaves out, never two in a row.
	//
	// For an instant between two frames the service gives the earlier one, if it is of the
	// same fragment. With FrameTimes the image has the frame's own timestamp instead of the
	// instant's. With FrameGaps the image is NO_MEDIA if no frame came since the instant
	// asked for before it.
	FrameEvery, FrameJitter time.Duration
	FrameDrops              float64
	FrameTimes, FrameGaps   bool
	// Skew is how far the service's clock is ahead of [Options.Now]; behind if negative.
	// SkewDrift is by how much more it gains in each second. From time to time it jumps
	// by SkewJump, ahead or back, for the length of SkewFor (default: 20s), at a random
	// instant of each SkewEvery (default: 10m). The clock is the service's: of a stream's
	// own faults, these do not count.
	Skew, SkewJump, SkewFor, SkewEvery time.Duration
	SkewDrift                          float64
	// Behind is how far the camera's clock is behind, ahead if negative; see [Stream.Clock]
	// for one that is set at some instant. Clock is how far it is off in addition, at most:
	// ahead or behind, by another amount every ClockEvery (default: 1m); at most 10m. Drift is how much the clock loses in each
	// ClockEvery, after which it is set right again. All of them show only in requests by
	// PRODUCER_TIMESTAMP.
	Behind, Clock, ClockEvery, Drift time.Duration
	// Uploads is the share of the time whose footage the camera keeps and uploads
	// UploadAfter (default: 1h) later, beside the present, with the timestamps of when it
	// was recorded. It comes in stretches of UploadFor (default: 1m).
	Uploads                float64
	UploadAfter, UploadFor time.Duration

	// Hidden is the share of pages without media although there is some: with NO_MEDIA, or
	// a 404 as for a window without fragments. HiddenFragments is the share of its
	// fragments that a page does not have.
	Hidden, HiddenFragments float64
	// Unordered is the share of pages whose entries are in random order, and Duplicates
	// the share of entries that come twice.
	Unordered, Duplicates float64
	// NoPicture is the share of pictures that an answer does not have, by chance: the image is
	// a MEDIA_ERROR, or has neither content nor error, or an empty content.
	NoPicture float64
	// ErrorFirst is the share of pictures that come after a MEDIA_ERROR of their instant.
	ErrorFirst float64
	// OffGrid is how far the timestamps of images are off, at most. At most 40ms.
	OffGrid time.Duration
	// Outside is the share of pages with an image from outside of the window.
	Outside float64
	// EmptyPages is the share of pages before which there are answers that have nothing
	// but a token: EmptyRun of them in a row (default: 1).
	EmptyPages float64
	EmptyRun   int
	// PageSize is how many images a page holds, at most; 0 is 25.
	PageSize int
	// TokenLife is how long a continuation token can be used; 0 is for ever. BadTokens is
	// the share of GetImages requests that are refused although their token is valid.
	TokenLife time.Duration
	BadTokens float64

	// Throttle enforces the documented limits. For a stream: 500 points a second of media
	// (GetImages costs one for each image asked for), 10,000 of metadata (GetImages costs
	// 400 and one for each image, ListFragments one for each fragment), and 5 requests a
	// second each of GetDataEndpoint and DescribeStream. For the account: 300 of these,
	// and 50 of ListStreams.
	Throttle bool
	// Others is the share of a stream's points that other clients use on average: from
	// none to twice that, changing every ten seconds. It implies Throttle.
	Others float64
	// ThrottleEndpoint is the share of GetDataEndpoint requests that are throttled at any
	// rate.
	ThrottleEndpoint float64

	// Errors is the share of requests that get a 500 or 503, and Resets the share whose
	// connection is reset without an answer.
	Errors, Resets float64
	// Cuts is the share of answers that end in the middle, Slow the share that begins
	// late, and Trickle the share that comes in small pieces. SlowBy is the longest time
	// that each of the last two takes. Default: 5s.
	Cuts, Slow, Trickle float64
	SlowBy              time.Duration
	// HangDescribe, HangEndpoint, HangList, HangFragments and HangImages are the shares of
	// the requests of DescribeStream, GetDataEndpoint, ListStreams, ListFragments and
	// GetImages that are accepted and never answered: the connection stays open until the
	// client gives up. Stalls is the share of answers of any operation that begin and
	// never end.
	HangDescribe, HangEndpoint, HangList, HangFragments, HangImages float64
	Stalls                                                          float64
	// Updating is the share of the time in which a stream is UPDATING, in stretches of
	// length Stretch. It can be read meanwhile.
	Updating float64
	// Recreate is how often a stream is deleted and created again: it is DELETING, absent
	// and CREATING for a third of AwayFor (default: 20s) each, and cannot be read until
	// it is ACTIVE again. Then it has another ARN, other data endpoints, and none of its
	// former media; the former endpoints are dead.
	// NoRetention is how often its retention is 0 for AwayFor, so that it has no media
	// either; after that it keeps media again. Each stream has times of its own, and 0 is
	// never. AwayFor counts for at most half of the time between two.
	Recreate, NoRetention, AwayFor time.Duration
	// Halve is how often the retention is lowered to half, in whole hours, and half as long
	// after that raised again; 0 is never. What is deleted meanwhile does not come back.
	Halve time.Duration
	// ExpiredCredentials is the share of the time in which the account's credentials
	// count as expired, in stretches of length Stretch. It has no effect on a single
	// stream.
	ExpiredCredentials float64
	// NoDate is the share of answers without the header Date. It is the account's: of a
	// stream's own faults it does not count.
	NoDate float64
	// NoImages is the share of GetImages requests that are answered with a 200 without
	// Images.
	NoImages float64
	// Rotate is how long a data endpoint works; 0 is for ever. After that it answers in
	// one of the ways of dead endpoints: see DeadAnswers. The address of the service itself
	// answers 200 without Images while this is set.
	Rotate time.Duration
	// DeadAnswers is how dead endpoints answer: 0 as such, with a 404 of an unknown
	// operation, 403, 200 without Images, or a reset connection; the others as if the
	// stream had no media: 1 with ResourceNotFoundException, 2 with
	// InvalidArgumentException, 3 with an empty list, 4 with NO_MEDIA for each slot; 5 in
	// any of all these ways.
	DeadAnswers int
	// Variants are what the service may do differently.
	Variants

	// ListJitter is how far the starts of fragments are off in lists, either way, at most.
	// ListShort is how much too short their lengths are, at most, and ListLong how much too
	// long. ListAbsurd is the share of fragments whose length is 0, negative or absurd.
	ListJitter, ListShort, ListLong time.Duration
	ListAbsurd                      float64
	// ListMissing is the share of fragments that no list has, and ListTwice the share that
	// every list has twice.
	ListMissing, ListTwice float64
	// ListLag is how much later than its images a fragment is listed, and ListAhead how
	// much earlier, though not before its end. With both, fragments are one or the other.
	ListLag, ListAhead time.Duration
	// ListEnds is the share of lists that end early, without a token. ListPage is how many
	// fragments a page of a list holds, at most; 0 is as many as were asked for.
	ListEnds float64
	ListPage int
	// DenyListFragments refuses ListFragments, as without the permission.
	DenyListFragments bool
}

// The limits of [Faults].
const (
	maxOffGrid = 40 * time.Millisecond
	maxClock   = 10 * time.Minute
	maxOff     = 48 * time.Hour
	maxSpan    = 24 * time.Hour
	maxSkew    = 1000 * time.Hour
	maxRun     = 100_000 // empty pages
)

func (f Faults) withDefaults() (Faults, error) {
	for _, s := range f.settings() {
		if err := s.check(); err != nil {
			return f, fmt.Errorf("fault %w", err)
		}
	}
	f.LateBy = cmp.Or(f.LateBy, 10*time.Second)
	f.LaterEvery = cmp.Or(f.LaterEvery, 10*time.Minute)
	f.Stretch = cmp.Or(f.Stretch, 10*time.Second)
	f.EarlyFor = cmp.Or(f.EarlyFor, time.Second)
	f.ClockEvery = cmp.Or(f.ClockEvery, time.Minute)
	f.SkewFor = cmp.Or(f.SkewFor, 20*time.Second)
	f.SkewEvery = cmp.Or(f.SkewEvery, 10*time.Minute)
	f.UploadAfter = cmp.Or(f.UploadAfter, time.Hour)
	f.UploadFor = cmp.Or(f.UploadFor, time.Minute)
	f.SlowBy = cmp.Or(f.SlowBy, 5*time.Second)
	f.AwayFor = cmp.Or(f.AwayFor, 20*time.Second)
	f.EmptyRun = cmp.Or(f.EmptyRun, 1)
	f.PageSize = cmp.Or(f.PageSize, poll.PageSlots)
	f.Throttle = f.Throttle || f.Others > 0
	return f, nil
}
