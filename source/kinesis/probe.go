package kinesis

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"
	media "github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia"

	"github.com/cvfeeder/cvfeeder/source/kinesis/page"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// ListingPoints is how many metadata points [Stream.Fragments] takes for a page.
const ListingPoints = fragmentsPage

// A PageRequest asks for one page of images: see [Stream.Page].
type PageRequest struct {
	// Window is what to ask for.
	Window poll.Window
	// MaxResults is the most images that the page may hold, from 1 to 100.
	MaxResults int
	// Token is that of the page before.
	Token string
	// Width and Height are the size to which the service is to bring the images, in place
	// of that of the stream's options; 0 for both keeps the video's.
	Width, Height int
}

// A Page is the service's answer to a [PageRequest], as it is.
type Page struct {
	Images []page.Image
	Token  string
}

// Page sends one request for images and returns what the service answers, for finding out
// how the service behaves. Unlike [Stream.Images], it neither waits for points, nor tries
// again, nor follows tokens, nor draws conclusions. [Label] names its errors.
func (s *Stream) Page(ctx context.Context, r PageRequest) (Page, error) {
	endpoint, err := s.DataEndpoint(ctx)
	if err != nil {
		return Page{}, err
	}
	in := s.input(r.Window)
	in.MaxResults = aws.Int64(int64(r.MaxResults))
	in.WidthPixels, in.HeightPixels = nil, nil
	if r.Width != 0 {
		in.WidthPixels, in.HeightPixels = aws.Int32(int32(r.Width)), aws.Int32(int32(r.Height))
	}
	in.NextToken = optional(r.Token)
	var got Page
	decode := decoder{pool: &s.client.decoders, patience: patience{answerTime, nil}, yield: func(img page.Image) bool {
		img.Recycle = nil // it is kept
		got.Images = append(got.Images, img)
		return true
	}}
	out, err := s.service().media.GetImages(ctx, in, func(o *media.Options) {
		useEndpoint(o, endpoint)
		o.Retryer = aws.NopRetryer{}
		o.APIOptions = append(o.APIOptions, decodeWith(&decode))
	})
	switch {
	case err != nil:
		return got, plain(err)
	case out.Images == nil:
		return got, errNoImages
	}
	got.Token = aws.ToString(out.NextToken)
	return got, nil
}

// IsEmpty tells whether an error of [Stream.Page] says that there is no media in the window.
func IsEmpty(err error) bool { return err != nil && isEmpty(err) }

// ListPage sends one request for the names of all streams that begin with prefix, and
// returns how many names the answer has and whether more follow. most is the number of
// names that is asked for, 0 for none. Like [Stream.Page], it is for finding out how the
// service behaves.
func (c *Client) ListPage(ctx context.Context, prefix string, most int) (names int, more bool, err error) {
	in := &kinesisvideo.ListStreamsInput{}
	if most != 0 {
		in.MaxResults = aws.Int32(int32(most))
	}
	if prefix != "" {
		in.StreamNameCondition = &types.StreamNameCondition{
			ComparisonOperator: types.ComparisonOperatorBeginsWith, ComparisonValue: &prefix,
		}
	}
	out, err := c.service("").control.ListStreams(ctx, in)
	if err != nil {
		return 0, false, plain(err)
	}
	return len(out.StreamInfoList), aws.ToString(out.NextToken) != "", nil
}

var errNoImages = errors.New("GetImages answers without Images")

// Warm tells whether the stream's media is stored in the warm tier, for which other prices hold. It
// takes the permission kinesisvideo:DescribeStreamStorageConfiguration.
func (s *Stream) Warm(ctx context.Context) (bool, error) {
	out, err := s.service().control.DescribeStreamStorageConfiguration(ctx, &kinesisvideo.DescribeStreamStorageConfigurationInput{
		StreamName: s.name(), StreamARN: s.arn(),
	})
	if err != nil {
		return false, s.explain(err)
	}
	tier := out.StreamStorageConfiguration
	return tier != nil && tier.DefaultStorageTier == types.DefaultStorageTierWarm, nil
}

// Label returns what the service answered instead of what it was asked for: its error code
// if that is a known one, such as ResourceNotFoundException, or else "HTTP" and the status;
// "error" if there was no answer. So it has nothing of the account in it.
func Label(err error) string {
	if errors.Is(err, errNoImages) {
		return "HTTP 200 without Images"
	}
	if l := label(err); l != tooLate {
		return l
	}
	return noAnswer
}
