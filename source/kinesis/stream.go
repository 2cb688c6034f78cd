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
	"golang.org/x/sync/semaphore"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/page"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

const (
	// requestTime bounds how long the service may take for a page with images, with retries.
	requestTime = time.Minute
	// learnAgain is how often a stream's retention is looked up again, and the least time
	// between two attempts, unless an answer contradicts it. So long a stream is assumed to
	// exist after it was seen.
	learnAgain = 5 * time.Minute
	// knownFor is how long a retention is known after it was looked up.
	knownFor = learnAgain + time.Minute
	// mostRetention is for how many hours a stream is taken to keep its media, at most: a
	// hundred years.
	mostRetention = 100 * 365 * 24
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
	// Share is the part of the stream's points that is used at most, from 0 to 1, so that other
	// readers of it have the rest. 0 is all of them.
	Share float64
	// Observe, if set, is called after every GetImages request, retries included, with
	// its outcome, and the images that were asked for and those that came. The outcome is "OK", "empty"
	// if there is no media in the window, the service's error code if it is a known one, the
	// HTTP status of other errors, "deadline" if the answer did not come in time, or "error"
	// if there was none for another reason.
	Observe func(code string, asked, came source.Bill)
	// Located, if set, is called after each look-up of a data endpoint, with what came of
	// it: [LookupFirst], [LookupSame], [LookupMoved] or [LookupFailed].
	Located func(result string)
}

// A Stream is one stream of the service. It implements [poll.Fetcher] and
// [poll.Lister], [poll.Pager] and [poll.Trailer].
type Stream struct {
	client *Client
	opts   StreamOptions
	budget *budget
	sizes  pageSizes

	locating *semaphore.Weighted // held while an endpoint is looked up; several windows may wait for that

	mu        sync.Mutex
	endpoints map[control.APIName]*endpoint // of the data plane, as far as known
	movedAt   time.Time                     // when an endpoint was last found to have moved
	seen      time.Time                     // when the stream was last known to exist
	retention time.Duration
	created   time.Time // when the stream was created; zero while unknown
	learned   time.Time // when the retention was last asked for
	unchecked bool      // the check has been postponed
}

// Stream returns a stream. It sends nothing yet.
func (c *Client) Stream(opts StreamOptions) *Stream {
	return &Stream{client: c, opts: opts, budget: newBudget(opts.Share), locating: semaphore.NewWeighted(1), endpoints: map[control.APIName]*endpoint{}}
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
		return errors.New("DescribeStream answered without StreamInfo")
	case !readable(info.Status):
		return fmt.Errorf("%w that can be read: it is %s, not ACTIVE", source.ErrNoStream, info.Status)
	case aws.ToInt32(info.DataRetentionInHours) <= 0:
		return errNoRetention
	}
	hours := min(aws.ToInt32(info.DataRetentionInHours), mostRetention)
	s.keep(aws.ToTime(info.CreationTime), time.Duration(hours)*time.Hour)
	return nil
}

// keep keeps what DescribeStream tells, and logs what has changed. After a stream was
// deleted and created again under its name, its endpoints are looked up again.
func (s *Stream) keep(created time.Time, retention time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.created.IsZero() && !created.IsZero() && !created.Equal(s.created) {
		s.client.log.Warn("the stream was deleted and created again: what it had before is gone",
			"stream", s.String(), "created", created.UTC(), "before", s.created.UTC())
		for _, e := range s.endpoints {
			e.failed = true
		}
	}
	if s.retention > 0 && retention != s.retention {
		s.client.log.Warn("the retention of the stream has changed", "stream", s.String(), "retention", retention, "before", s.retention)
	}
	s.seen, s.unchecked = time.Now(), false
	s.learned = s.seen
	if !created.IsZero() {
		s.created = created
	}
	s.retention = retention
}

// Retention returns how long the service keeps the stream's media, 0 while that is not
// known: before the first [Stream.Check], and after a time without requests, in which it
// may have been changed. The next request for images looks it up again.
func (s *Stream) Retention() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.seen) > knownFor {
		return 0
	}
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
	return s.images(ctx, s.input(w), w)
}

// Received implements [poll.Trailer].
func (s *Stream) Received() poll.Fetcher { return received{s} }

// received is a stream by the service's timestamps, whatever its options say.
type received struct{ *Stream }

// Images implements [poll.Fetcher].
func (r received) Images(ctx context.Context, w poll.Window) iter.Seq2[poll.Image, error] {
	in := r.input(w)
	in.ImageSelectorType = types.ImageSelectorTypeServerTimestamp
	return r.images(ctx, in, w)
}

// images asks for a window. An answer that ends slots, and need not be true, is only passed
// on after the endpoint has been confirmed; if that is another one, it is asked instead.
func (s *Stream) images(ctx context.Context, in *media.GetImagesInput, w poll.Window) iter.Seq2[poll.Image, error] {
	return func(yield func(poll.Image, error) bool) {
		got := s.ask(ctx, *in, w, yield)
		if s.doubtful(w, got) {
			moved, err := s.resolve(ctx, w, got)
			if err != nil {
				got.err = err
			} else if moved {
				got = s.ask(ctx, *in, w, yield)
			}
		}
		if got.err != nil && !got.stopped {
			yield(poll.Image{}, got.err)
		}
	}
}

// ask asks the stream's endpoint for a window once.
func (s *Stream) ask(ctx context.Context, in media.GetImagesInput, w poll.Window, yield func(poll.Image, error) bool) (got reply) {
	if err := s.ready(ctx); err != nil {
		return reply{err: err}
	}
	if err := s.client.inFlight.Acquire(ctx, 1); err != nil {
		return reply{err: s.explain(err)}
	}
	defer s.client.inFlight.Release(1)
	ctx, timeout := withTimeout(ctx, requestTime)
	defer timeout.stop()
	err := s.pages(ctx, timeout, &in, w, &got, func(img page.Image) bool {
		if img.Time.IsZero() || source.CheckTime(img.Time) != nil {
			return true
		}
		timeout.pause()
		defer timeout.resume()
		got.stopped = !yield(image(img), nil)
		return !got.stopped
	})
	if err != nil {
		got.err = timeout.explain(err)
	}
	return got
}

// doubtful tells whether an answer may come from an endpoint that is no longer the right
// one: it has nothing new where slots end or media should have come, or it refuses the
// window.
func (s *Stream) doubtful(w poll.Window, got reply) bool {
	switch {
	case got.stopped || got.news:
		return false
	case got.refused:
		return true
	case got.err != nil && !errors.Is(got.err, poll.ErrEmptyWindow):
		return false
	}
	return w.Final || s.endpoint(control.APINameGetImages).quiet()
}

// resolve clears up a doubtful answer. It returns true if the window has to be asked for
// again. It returns an error if the retention has changed: then the window may lie outside
// of it.
func (s *Stream) resolve(ctx context.Context, w poll.Window, got reply) (moved bool, err error) {
	before := s.kept()
	old := s.client.Now().Sub(w.End.Time()) > oldAfter
	if got.refused || old {
		err = s.describeAgain(ctx)
	}
	changed := func() bool { return before > 0 && s.kept() != before }
	if err == nil && !changed() {
		moved, err = s.confirm(ctx, control.APINameGetImages, got.url, old)
	}
	if now := s.kept(); err == nil && changed() {
		err = fmt.Errorf("the retention is now %v, and was %v", now, before)
	}
	return moved, err
}

// kept returns the retention as it was last known, however long ago.
func (s *Stream) kept() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retention
}

// ready waits until the account has a request left for the data endpoint if that is not
// known, and does the check that was postponed.
func (s *Stream) ready(ctx context.Context) error {
	if s.endpoint(control.APINameGetImages).usable() == "" {
		return s.client.locates.wait(ctx)
	}
	s.mu.Lock()
	unchecked := s.unchecked
	s.mu.Unlock()
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

// notFound distinguishes a window without media from a stream that does not exist.
func (s *Stream) notFound(ctx context.Context, err error) error {
	s.mu.Lock()
	exists := time.Since(s.seen) < learnAgain
	s.mu.Unlock()
	if !exists {
		if err := s.client.describes.wait(ctx); err != nil {
			return err
		}
		if err := s.describe(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %w", poll.ErrEmptyWindow, plain(err))
}

func (s *Stream) input(w poll.Window) *media.GetImagesInput {
	// The documents do not say whether a range includes its end. A millisecond more has the
	// image of the last slot either way, and must not have another.
	end, wider := w.End, w
	wider.End++
	if end.Sub(w.Start) < poll.MaxWindow && wider.Slots() == w.Slots() {
		end = wider.End
	}
	in := &media.GetImagesInput{
		StreamName:        s.name(),
		StreamARN:         s.arn(),
		StartTimestamp:    aws.Time(w.Start.Time()),
		EndTimestamp:      aws.Time(end.Time()),
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
