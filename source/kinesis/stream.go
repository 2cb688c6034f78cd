package kinesis

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	control "github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"
	media "github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia/types"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/page"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

const (
	// requestTime bounds how long the service may take for a window, with retries.
	requestTime = time.Minute
	// existsFor is how long a stream is assumed to exist after it was seen.
	existsFor = time.Minute
	// learnAgain is how often a stream's retention is looked up again, and the least time
	// between two attempts.
	learnAgain = 5 * time.Minute
)

// StreamOptions say which stream to read, and which images to ask for.
type StreamOptions struct {
	// Name or ARN of the stream: exactly one of them.
	Name, ARN string
	// Region of the stream; default: the client's.
	Region string
	// Producer asks by the camera's timestamps instead of the service's.
	Producer bool
	// PNG asks for PNG instead of JPEG.
	PNG bool
	// Quality of the JPEGs, 1 to 100; default: the service's, 80.
	Quality int
	// Width and Height are the size to which the service stretches the images, in pixels;
	// 0 for both keeps the video's size.
	Width, Height int
	// Observe, if set, is called after every GetImages request, retries included, with
	// its outcome and the number of images that were asked for. The outcome is "OK", the
	// service's error code if it is a known one, the HTTP status of other errors, or
	// "error" if there was no answer.
	Observe func(code string, images int)
}

// A Stream is one stream of the service. It implements [poll.Fetcher] and
// [poll.Lister], [poll.Pager] and [poll.Trailer].
type Stream struct {
	client *Client
	opts   StreamOptions
	budget *budget
	sizes  pageSizes

	mu        sync.Mutex
	endpoints map[control.APIName]string // of the data plane, as far as known
	seen      time.Time                  // when the stream was last known to exist
	retention time.Duration
	learned   time.Time // when the retention was last asked for
	unchecked bool      // the check has been postponed
}

// Stream returns a stream. It sends nothing yet.
func (c *Client) Stream(opts StreamOptions) *Stream {
	return &Stream{client: c, opts: opts, budget: newBudget(), endpoints: map[control.APIName]string{}}
}

// Check asks the service whether the stream can be read. The error wraps
// [source.ErrNoStream] if there is no such stream, it is not active, or it keeps no media,
// and [source.ErrRefused] if the credentials do not suffice; with other errors there was
// no answer.
//
// If many streams are checked at a time and the account has no request left, Check returns
// nil at once, and the stream is checked later, before its images are asked for.
func (s *Stream) Check(ctx context.Context) error {
	if !s.client.describes.spare() {
		s.mu.Lock()
		s.unchecked = true
		s.mu.Unlock()
		return nil
	}
	return s.describe(ctx)
}

func (s *Stream) describe(ctx context.Context) error {
	out, err := s.service().control.DescribeStream(ctx, &kinesisvideo.DescribeStreamInput{
		StreamName: s.name(), StreamARN: s.arn(),
	}, s.client.describes.observe)
	if err != nil {
		return s.explain(err)
	}
	info := out.StreamInfo
	switch {
	case info == nil:
		return fmt.Errorf("stream %s: DescribeStream answered without StreamInfo", s)
	case !readable(info.Status):
		return fmt.Errorf("%w: stream %s is %s, not ACTIVE", source.ErrNoStream, s, info.Status)
	case aws.ToInt32(info.DataRetentionInHours) <= 0:
		return fmt.Errorf("%w: stream %s keeps no media: its DataRetentionInHours must be above 0", source.ErrNoStream, s)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen, s.unchecked = time.Now(), false
	s.learned = s.seen
	s.retention = time.Duration(aws.ToInt32(info.DataRetentionInHours)) * time.Hour
	return nil
}

// Retention returns how long the service keeps the stream's media, as the last
// [Stream.Check] found it; 0 before the first.
func (s *Stream) Retention() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retention
}

// DataEndpoint asks the service for the endpoint of GetImages. Its errors are those of
// [Stream.Check].
func (s *Stream) DataEndpoint(ctx context.Context) (string, error) {
	endpoint, err := s.dataEndpoint(ctx, control.APINameGetImages)
	if err != nil {
		return "", s.explain(err)
	}
	return endpoint, nil
}

// Images implements [poll.Fetcher]. Images are yielded while the rest of the answer is
// still arriving.
func (s *Stream) Images(ctx context.Context, w poll.Window) iter.Seq2[poll.Image, error] {
	return s.images(ctx, s.input(w), w.Slots())
}

// Received implements [poll.Trailer].
func (s *Stream) Received() poll.Fetcher { return received{s} }

// received is a stream by the service's timestamps, whatever its options say.
type received struct{ *Stream }

// Images implements [poll.Fetcher].
func (r received) Images(ctx context.Context, w poll.Window) iter.Seq2[poll.Image, error] {
	in := r.input(w)
	in.ImageSelectorType = types.ImageSelectorTypeServerTimestamp
	return r.images(ctx, in, w.Slots())
}

func (s *Stream) images(ctx context.Context, in *media.GetImagesInput, slots int) iter.Seq2[poll.Image, error] {
	return func(yield func(poll.Image, error) bool) {
		if err := s.ready(ctx); err != nil {
			yield(poll.Image{}, err)
			return
		}
		if err := s.client.inFlight.Acquire(ctx, 1); err != nil {
			yield(poll.Image{}, s.explain(err))
			return
		}
		defer s.client.inFlight.Release(1)
		ctx, timeout := withTimeout(ctx, requestTime)
		defer timeout.stop()
		stopped := false
		err := s.pages(ctx, in, slots, func(img page.Image) bool {
			if img.Time.IsZero() {
				return true
			}
			timeout.pause()
			defer timeout.resume()
			stopped = !yield(image(img), nil)
			return !stopped
		})
		if err != nil && !stopped {
			yield(poll.Image{}, timeout.explain(err))
		}
	}
}

// ready waits until the account has a request left for the data endpoint if that is not
// known, and does the check that was postponed.
func (s *Stream) ready(ctx context.Context) error {
	s.mu.Lock()
	located, unchecked := s.endpoints[control.APINameGetImages] != "", s.unchecked
	s.mu.Unlock()
	if !located {
		return s.client.locates.wait(ctx)
	}
	if unchecked {
		if !s.client.describes.spare() {
			return nil
		}
		return s.describe(ctx)
	}
	s.learn(ctx)
	return nil
}

// learn looks the retention up again from time to time, because it may be changed. Where
// that fails, the old one stays, and images are asked for all the same.
func (s *Stream) learn(ctx context.Context) {
	s.mu.Lock()
	due := s.retention > 0 && time.Since(s.learned) >= learnAgain && s.client.describes.spare()
	if due {
		s.learned = time.Now()
	}
	s.mu.Unlock()
	if due {
		ctx, cancel := context.WithTimeout(ctx, answerTime) // the images are waiting
		defer cancel()
		_ = s.describe(ctx)
	}
}

// dataEndpoint returns the endpoint for requests of an API. It is kept until a request
// fails, because GetDataEndpoint is limited to five requests a second for a stream.
func (s *Stream) dataEndpoint(ctx context.Context, api control.APIName) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if endpoint := s.endpoints[api]; endpoint != "" {
		return endpoint, nil
	}
	out, err := s.service().control.GetDataEndpoint(ctx, &kinesisvideo.GetDataEndpointInput{
		APIName: api, StreamName: s.name(), StreamARN: s.arn(),
	}, s.client.locates.observe)
	if err != nil {
		return "", err
	}
	if aws.ToString(out.DataEndpoint) == "" {
		return "", errors.New("GetDataEndpoint answered without a DataEndpoint")
	}
	s.endpoints[api] = *out.DataEndpoint
	return *out.DataEndpoint, nil
}

// forget drops an endpoint that failed, unless it has been replaced already.
func (s *Stream) forget(api control.APIName, endpoint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.endpoints[api] == endpoint {
		delete(s.endpoints, api)
	}
}

// notFound distinguishes a window without media from a stream that does not exist.
func (s *Stream) notFound(ctx context.Context, err error) error {
	s.mu.Lock()
	exists := time.Since(s.seen) < existsFor
	s.mu.Unlock()
	if !exists {
		if err := s.client.describes.wait(ctx); err != nil {
			return err
		}
		if err := s.describe(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("stream %s: %w: %w", s, poll.ErrEmptyWindow, err)
}

func (s *Stream) input(w poll.Window) *media.GetImagesInput {
	in := &media.GetImagesInput{
		StreamName:        s.name(),
		StreamARN:         s.arn(),
		StartTimestamp:    aws.Time(w.Start.Time()),
		EndTimestamp:      aws.Time(w.End.Time()),
		SamplingInterval:  aws.Int32(int32(w.Interval.Milliseconds())),
		ImageSelectorType: types.ImageSelectorTypeServerTimestamp,
		Format:            types.FormatJpeg,
		MaxResults:        aws.Int64(poll.PageSlots),
	}
	if s.opts.Producer {
		in.ImageSelectorType = types.ImageSelectorTypeProducerTimestamp
	}
	if s.opts.PNG {
		in.Format = types.FormatPng
	} else if s.opts.Quality != 0 {
		in.FormatConfig = map[string]string{string(types.FormatConfigKeyJPEGQuality): strconv.Itoa(s.opts.Quality)}
	}
	if s.opts.Width != 0 {
		in.WidthPixels, in.HeightPixels = aws.Int32(int32(s.opts.Width)), aws.Int32(int32(s.opts.Height))
	}
	return in
}

func (s *Stream) service() *service { return s.client.service(s.opts.Region) }

// String returns the stream's name or ARN.
func (s *Stream) String() string {
	if s.opts.Name != "" {
		return s.opts.Name
	}
	return s.opts.ARN
}

func (s *Stream) name() *string { return optional(s.opts.Name) }
func (s *Stream) arn() *string  { return optional(s.opts.ARN) }

func optional(v string) *string {
	if v == "" {
		return nil
	}
	return &v
}
