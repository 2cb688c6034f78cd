// Package kinesistest is a fake Kinesis Video Streams service on the real wire
// protocol, for tests, demonstrations and development without an AWS account.
//
// One server answers the control plane (ListStreams, DescribeStream,
// GetDataEndpoint) and the data plane (GetImages, ListFragments), to the AWS SDK of any
// language: point the client's endpoint at it, with region [Region] and the keys
// [AccessKey] and [SecretKey]. Signatures are checked as AWS does.
//
//	srv, err := kinesistest.New(kinesistest.Options{})
//	// handle err
//	endpoint, err := srv.Start("127.0.0.1:0")
//	// handle err
//	defer endpoint.Close()
//	// endpoint.URL serves the streams cam-1 to cam-4
//
// The media is made up, but behaves like the real one: it comes in fragments,
// which become visible only some time after their end, and an image is found only
// where its fragment starts within the window that was asked for. What the
// cameras see is up to a [Scene]: [Drawn] paints a street with the time in it,
// both readable and as a code that [ReadTimeCode] takes out of a picture again;
// [Video] loops a file.
//
// Time is that of the time package, so testing/synctest drives the service; use a
// [Pipe] as its network there.
//
// [Faults] are all that goes wrong in reality, in any mixture, and repeatable by a
// seed. Streams come and go with [Server.AddStream] and [Server.RemoveStream].
// [Server.Media] tells what there was to be had and when, [Server.Requests],
// [Server.Totals] and [Server.Handed] what was asked and handed out, so that a
// test can compare. [Options.Intercept] and [Options.Corrupt] let it misbehave in
// ways of its own.
package kinesistest

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// What the service accepts unless [Options] say otherwise.
const (
	Region    = "us-east-1"
	AccessKey = "test"
	SecretKey = "test"
)

// Options configure a [Server]. The zero value serves four streams of a drawn
// scene.
type Options struct {
	// Streams are the cameras. Default: Cameras(4).
	Streams []Stream
	// Scene is what they see. Default: a [Drawn] of 1280x720.
	Scene Scene

	// Fragment is the length of the media's fragments, which start at its whole
	// multiples since the Unix epoch: whole milliseconds, 200ms to 1m. Default: 2s.
	Fragment time.Duration
	// FragmentMax, where it is longer than Fragment, makes their lengths vary between
	// the two. At most 1m.
	FragmentMax time.Duration
	// Delay is how long after its end a fragment becomes visible; negative for
	// none. Default: 500ms.
	Delay time.Duration

	// Faults are what goes wrong. Default: nothing.
	Faults Faults
	// Seed decides what is random: with the same seed and the same requests of each
	// stream, the answers are the same.
	Seed uint64

	// Region, AccessKey and SecretKey are what requests must be signed with.
	// Default: the constants of these names.
	Region, AccessKey, SecretKey string

	// CacheBytes bounds the encoded pictures that are kept. Default: 64 MiB.
	CacheBytes int
	// Records bounds the requests that are remembered. Default: 10,000.
	Records int
	// Instants bounds for how many instants of streams it is remembered how often
	// their picture was handed out ([Server.Handed]). Default: 100,000.
	Instants int

	// Intercept is asked about every request that is signed and well-formed, and
	// may answer in the service's place; nil leaves it to the service. The outcome
	// fields of the request are not set yet. It is called concurrently.
	Intercept func(Request) *Fault
	// Observe is told of every request when it is answered. It is called concurrently.
	Observe func(Request)
	// Corrupt may replace the bytes of a stream's picture at t. It may edit data.
	// It is called concurrently.
	Corrupt func(stream string, t time.Time, data []byte) []byte
}

// A Stream is one camera's stream.
type Stream struct {
	// Name is that of the stream: letters, digits, '_', '.' and '-', at most 256.
	Name string
	// Retention is how long media is kept; negative keeps nothing. DescribeStream
	// tells it in hours, rounded up. Default: 24h.
	Retention time.Duration
	// Since is when the first media came. Default: before all retention.
	Since time.Time
	// Outages are the times without media: a fragment that touches one does not
	// exist.
	Outages []Interval

	// Fragment with FragmentMax, Delay and Faults stand in for those of [Options],
	// where set.
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
