// Package kinesistest is a fake Kinesis Video Streams service on the real wire protocol,
// for tests, demonstrations and development without an AWS account.
//
// One server answers the control plane (ListStreams, DescribeStream, GetDataEndpoint) and
// the data plane (GetImages, ListFragments) to the AWS SDK of any language: point the
// client's endpoint at it, with region [Region] and the keys [AccessKey] and [SecretKey].
// Signatures are checked as AWS does.
//
//	srv, err := kinesistest.New(kinesistest.Options{})
//	// handle err
//	endpoint, err := srv.Start("127.0.0.1:0")
//	// handle err
//	defer endpoint.Close()
//	// endpoint.URL serves the streams cam-1 to cam-4
//
// The media is made up, but behaves like real media. It comes in fragments, which become
// visible only some time after their end, and an image is found only if its fragment
// starts within the requested window. What the cameras see is up to a scene: see package
// scene.
//
// Time is that of the time package, so testing/synctest drives the service; use a [Pipe]
// as its network there. [Server.Now] is the service's own clock, which may be off.
//
// [Faults] are the things that go wrong in reality, in any mixture, and repeatable by a
// seed. Streams come and go with [Server.AddStream] and [Server.RemoveStream].
//
// Tests compare what a client got with [Server.Media], which tells what there was to be
// had and when, and with [Server.Requests], [Server.Totals] and [Server.Handed], which
// tell what was asked for and handed out. [Options.Intercept] and [Options.Corrupt] let
// the service misbehave in other ways.
//
// The package is larger than most, because it is one service: its operations, what goes
// wrong with them, and the log of requests all work on the state of the same streams.
package kinesistest

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest/scene"
)

// What the service accepts unless [Options] say otherwise.
const (
	Region    = "us-east-1"
	AccessKey = "test"
	SecretKey = "test"
)

// Options configure a [Server]. The zero value serves four streams of a drawn scene.
type Options struct {
	// Streams are the cameras. Default: Cameras(4).
	Streams []Stream
	// Scene is what the cameras see. Default: a [scene.Drawn] of 1280x720.
	Scene scene.Scene

	// Fragment is the length of the fragments, which start at whole multiples of it since
	// the Unix epoch: whole milliseconds, 200ms to 1m. Default: 2s.
	Fragment time.Duration
	// FragmentMax, if longer than Fragment, makes the lengths vary between the two. At
	// most 1m.
	FragmentMax time.Duration
	// Delay is how long after its end a fragment becomes visible; negative for none.
	// Default: 500ms.
	Delay time.Duration

	// Now is the service's clock, before [Faults] change it. Default: time.Now.
	Now func() time.Time

	// Faults are what goes wrong. Default: nothing.
	Faults Faults
	// Seed decides everything random: the same seed and the same requests of each stream
	// give the same answers.
	Seed uint64

	// Region, AccessKey and SecretKey are what requests must be signed with.
	// Default: the constants of these names.
	Region, AccessKey, SecretKey string

	// CacheBytes bounds the encoded pictures that are kept. Default: 64 MiB.
	CacheBytes int
	// Records bounds the requests that are remembered. Default: 10,000.
	Records int
	// Instants bounds the instants for which it is remembered how often their picture was
	// handed out: see [Server.Handed]. Default: 100,000.
	Instants int

	// Intercept is called for every request that is signed and well-formed, and may
	// answer in place of the service; nil leaves it to the service. The outcome fields of
	// the request are not set yet. It is called concurrently.
	Intercept func(Request) *ErrorResponse
	// Observe is called for every request when it is answered. It is called concurrently.
	Observe func(Request)
	// Corrupt may replace the bytes of a stream's picture at t. It may edit data.
	// It is called concurrently.
	Corrupt func(stream string, t time.Time, data []byte) []byte
}

// A Stream is one camera's stream.
type Stream struct {
	// Name of the stream: up to 256 letters, digits, '_', '.' and '-'.
	Name string
	// Retention is how long media is kept; negative keeps none. DescribeStream gives it
	// in hours, rounded up. Default: 24h.
	Retention time.Duration
	// Since is when the first media came. Default: longer ago than the retention.
	Since time.Time
	// Warm says that the media is stored in the warm tier.
	Warm bool
	// Outages are the times without media: a fragment that touches one does not exist.
	Outages []Interval
	// Clock are the instants at which the camera's clock is set. Before the first one, it
	// is off by what the faults say.
	Clock []ClockSetting

	// Fragment with FragmentMax, Delay, and Faults, where set, replace those of
	// [Options].
	Fragment, FragmentMax, Delay time.Duration
	Faults                       *Faults
}

// An Interval is the time from From up to but not including To.
type Interval struct{ From, To time.Time }

// Cameras returns n streams with the defaults, named cam-1 to cam-n.
func Cameras(n int) []Stream {
	streams := make([]Stream, n)
	for i := range streams {
		streams[i].Name = fmt.Sprintf("cam-%d", i+1)
	}
	return streams
}

func (o Options) withDefaults() (Options, error) {
	if o.Streams == nil {
		o.Streams = Cameras(4)
	}
	o.Fragment = cmp.Or(o.Fragment, 2*time.Second)
	o.Delay = cmp.Or(o.Delay, 500*time.Millisecond)
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Region = cmp.Or(o.Region, Region)
	o.AccessKey = cmp.Or(o.AccessKey, AccessKey)
	o.SecretKey = cmp.Or(o.SecretKey, SecretKey)
	o.CacheBytes = cmp.Or(o.CacheBytes, 64<<20)
	o.Records = cmp.Or(o.Records, 10_000)
	o.Instants = cmp.Or(o.Instants, 100_000)
	if o.CacheBytes < 0 || o.Records < 0 || o.Instants < 0 {
		return o, errors.New("CacheBytes, Records and Instants must not be negative")
	}
	var err error
	o.Faults, err = o.Faults.withDefaults()
	return o, err
}
