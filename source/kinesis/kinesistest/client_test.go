package kinesistest_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	kvtypes "github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A client is the real SDK with the fake as its endpoint.
type client struct {
	*kinesistest.Server
	url     string
	found   *string // the data endpoint of cam-1 when look last found one
	control *kinesisvideo.Client
	data    *kinesisvideoarchivedmedia.Client
}

// An access is what the SDK signs requests with, and how it reaches the server.
type access struct {
	region, key, secret string
	transport           http.RoundTripper
}

// start serves on the loopback. The client of the data plane uses the endpoint that the
// control plane returns.
func start(t *testing.T, opts kinesistest.Options) *client {
	t.Helper()
	srv, err := kinesistest.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := srv.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := endpoint.Close(); err != nil {
			t.Error(err)
		}
	})
	c := connect(t, endpoint.URL, access{})
	c.Server = srv
	out, err := c.control.GetDataEndpoint(t.Context(), &kinesisvideo.GetDataEndpointInput{
		APIName: kvtypes.APINameGetImages, StreamName: aws.String(srv.Streams()[0]),
	})
	if err != nil {
		t.Fatal(err)
	}
	if *out.DataEndpoint != endpoint.URL {
		t.Fatalf("the data endpoint is %s, want %s", *out.DataEndpoint, endpoint.URL)
	}
	return c
}

// A readOnly transport hides WriteTo of the SDK's request bodies. The SDK closes a body as
// soon as there is an answer. WriteTo of a closed body returns EOF, and net/http, if it is
// still looking for the end of the body, then closes the connection with the answer in it.
// Read does not have this problem.
type readOnly struct{ next http.RoundTripper }

func (t readOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r = r.Clone(r.Context())
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return t.next.RoundTrip(r)
}

func connect(t *testing.T, url string, a access) *client {
	t.Helper()
	if a.transport == nil {
		own := &http.Transport{}
		t.Cleanup(own.CloseIdleConnections)
		a.transport = own
	}
	cfg := aws.Config{
		Region: cmp.Or(a.region, kinesistest.Region),
		Credentials: credentials.NewStaticCredentialsProvider(
			cmp.Or(a.key, kinesistest.AccessKey), cmp.Or(a.secret, kinesistest.SecretKey), ""),
		HTTPClient: &http.Client{Transport: readOnly{a.transport}},
		Retryer:    func() aws.Retryer { return aws.NopRetryer{} },
	}
	return &client{
		url: url,
		control: kinesisvideo.NewFromConfig(cfg, func(o *kinesisvideo.Options) {
			o.BaseEndpoint = &url
		}),
		data: kinesisvideoarchivedmedia.NewFromConfig(cfg, func(o *kinesisvideoarchivedmedia.Options) {
			o.BaseEndpoint = &url
		}),
	}
}

// ask returns a valid request for cam-1: from start to end, every 200 ms.
func ask(start, end time.Time) *kinesisvideoarchivedmedia.GetImagesInput {
	return &kinesisvideoarchivedmedia.GetImagesInput{
		StreamName:        aws.String("cam-1"),
		StartTimestamp:    &start,
		EndTimestamp:      &end,
		Format:            types.FormatJpeg,
		ImageSelectorType: types.ImageSelectorTypeServerTimestamp,
		SamplingInterval:  aws.Int32(200),
	}
}

func (c *client) images(ctx context.Context, t *testing.T, in *kinesisvideoarchivedmedia.GetImagesInput) *kinesisvideoarchivedmedia.GetImagesOutput {
	t.Helper()
	out, err := c.data.GetImages(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// code returns the service's code for err, as the SDK reports it.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func wantCode(t *testing.T, err error, want string) {
	t.Helper()
	if got := code(err); got != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
}

// minute returns a whole minute in the past, all of whose media is visible.
func minute() time.Time { return time.Now().Add(-10 * time.Minute).Truncate(time.Minute) }
