// Package kinesistest is a fake Kinesis Video Streams service on the real wire
// protocol, for tests, demonstrations and development without an AWS account.
//
// One server answers the control plane (ListStreams, DescribeStream,
// GetDataEndpoint) and the data plane (GetImages), to the AWS SDK of any
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
// [Pipe] as its network there. [Server.Requests] and [Server.Totals] tell what was
// asked and handed out, and [Options.Intercept] and [Options.Corrupt] let a test
// misbehave.
package kinesistest

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"regexp"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
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
	// Delay is how long after its end a fragment becomes visible; negative for
	// none. Default: 500ms.
	Delay time.Duration

	// Region, AccessKey and SecretKey are what requests must be signed with.
	// Default: the constants of these names.
	Region, AccessKey, SecretKey string

	// CacheBytes bounds the encoded pictures that are kept. Default: 64 MiB.
	CacheBytes int
	// Records bounds the requests that are remembered. Default: 10,000.
	Records int

	// Intercept is asked about every request that is signed and well-formed, and
	// may answer in the service's place; nil leaves it to the service. The outcome
	// fields of the request are not set yet. It is called concurrently.
	Intercept func(Request) *Fault
	// Corrupt may replace the bytes of a stream's picture at t. It may edit data.
	// It is called concurrently.
	Corrupt func(stream string, t time.Time, data []byte) []byte
}

// A Stream is one camera's stream.
type Stream struct {
	// Name is that of the stream: letters, digits, '_', '.' and '-', at most 256.
	Name string
	// Retention is how long media is kept, in whole hours; negative keeps nothing.
	// Default: 24h.
	Retention time.Duration
	// Since is when the first media came. Default: before all retention.
	Since time.Time
	// Outages are the times without media: a fragment that touches one does not
	// exist.
	Outages []Interval
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
	if o.Fragment == 0 {
		o.Fragment = 2 * time.Second
	}
	switch {
	case o.Delay == 0:
		o.Delay = 500 * time.Millisecond
	case o.Delay < 0:
		o.Delay = 0
	}
	o.Region = cmp.Or(o.Region, Region)
	o.AccessKey = cmp.Or(o.AccessKey, AccessKey)
	o.SecretKey = cmp.Or(o.SecretKey, SecretKey)
	o.CacheBytes = cmp.Or(o.CacheBytes, 64<<20)
	o.Records = cmp.Or(o.Records, 10_000)
	return o, o.check()
}

func (o Options) check() error {
	if o.Fragment < source.MinInterval || o.Fragment > time.Minute || o.Fragment%time.Millisecond != 0 {
		return fmt.Errorf("fragment length %v: it must be whole milliseconds from %v to %v",
			o.Fragment, source.MinInterval, time.Minute)
	}
	if o.CacheBytes < 0 || o.Records < 0 {
		return errors.New("CacheBytes and Records must not be negative")
	}
	return nil
}

var streamName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,256}$`)

// A stream is a Stream that was checked.
type stream struct {
	Stream
	arn     string
	version string
	created time.Time
	media   media
}

// newStreams checks the streams and puts them in the order of ListStreams.
func newStreams(o Options) (*streams, error) {
	all := &streams{byName: make(map[string]*stream, len(o.Streams)), byARN: make(map[string]*stream, len(o.Streams))}
	for _, s := range o.Streams {
		made, err := newStream(s, o)
		if err != nil {
			return nil, fmt.Errorf("stream %q: %w", s.Name, err)
		}
		if all.byName[s.Name] != nil {
			return nil, fmt.Errorf("stream %q: the name is taken twice", s.Name)
		}
		all.add(made)
	}
	return all, nil
}

func newStream(s Stream, o Options) (*stream, error) {
	if !streamName.MatchString(s.Name) {
		return nil, errors.New("a name has 1 to 256 letters, digits, '_', '.' or '-'")
	}
	switch {
	case s.Retention == 0:
		s.Retention = 24 * time.Hour
	case s.Retention < 0:
		s.Retention = 0
	case s.Retention%time.Hour != 0:
		return nil, fmt.Errorf("retention %v is not in whole hours", s.Retention)
	}
	for _, out := range s.Outages {
		if !out.From.Before(out.To) {
			return nil, fmt.Errorf("the outage from %v ends before it begins, at %v", out.From, out.To)
		}
	}
	m, err := newMedia(s, o)
	if err != nil {
		return nil, err
	}
	created := s.Since
	if created.IsZero() {
		created = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	h := fnv.New64a()
	h.Write([]byte(s.Name))
	return &stream{
		Stream:  s,
		arn:     fmt.Sprintf("arn:aws:kinesisvideo:%s:123456789012:stream/%s/%d", o.Region, s.Name, created.UnixMilli()),
		version: fmt.Sprintf("%016x", h.Sum64()),
		created: created,
		media:   m,
	}, nil
}
