// Package kinesis reads streams of Amazon Kinesis Video Streams: it is the
// [source.Fetcher] for the real service, and the only importer of the AWS SDK.
//
//	client, err := kinesis.New(ctx, kinesis.Options{Region: "eu-west-1"})
//	stream := client.Stream(kinesis.StreamOptions{Name: "front-door"})
//	if err := stream.Check(ctx); err != nil { … }
//	poller := source.NewPoller(stream, ledger, source.Options{Lag: source.Auto, Overlap: source.Auto})
//
// Credentials and region come from the SDK's own chain. Throttling and server
// errors are retried with the SDK's backoff; ClientLimitExceededException too,
// which the SDK itself does not retry. The permissions needed are
// kinesisvideo:GetDataEndpoint, GetImages and DescribeStream; ListFragments is
// optional.
package kinesis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	media "github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/page"
)

// Options configure a [Client].
type Options struct {
	// Region; default: the SDK's chain.
	Region string
	// Endpoint of the control plane; default: the region's.
	Endpoint string
	// AccessKey and Secret, where set, are used instead of the SDK's chain.
	AccessKey, Secret string
	// HTTPClient, where set, is used instead of the SDK's own.
	HTTPClient *http.Client
	// Attempts is how often a request is tried; default 5.
	Attempts int
}

// A Client holds what the streams of one account and region share.
type Client struct {
	control  *kinesisvideo.Client
	media    *media.Client
	decoders sync.Pool // of *page.Decoder: one for each page that is being read
}

// New returns a client. It asks the SDK's chain for region and credentials. An
// error wraps [source.ErrRefused] where there are no credentials; others are of the
// configuration. Nothing is sent to the service yet.
func New(ctx context.Context, opts Options) (*Client, error) {
	load := []func(*config.LoadOptions) error{
		config.WithRetryer(func() aws.Retryer { return newRetryer(opts.Attempts) }),
		config.WithAPIOptions([]func(*middleware.Stack) error{plainBody}),
	}
	if opts.Region != "" {
		load = append(load, config.WithRegion(opts.Region))
	}
	if opts.AccessKey != "" {
		load = append(load, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(opts.AccessKey, opts.Secret, "")))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("loading the AWS configuration: %w", err)
	}
	if opts.HTTPClient != nil {
		cfg.HTTPClient = opts.HTTPClient
	}
	if cfg.Region == "" {
		return nil, errors.New("no AWS region: set aws.region in the config, or AWS_REGION")
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return nil, fmt.Errorf("%w: no AWS credentials: %w", source.ErrRefused, err)
	}
	return &Client{
		control: kinesisvideo.NewFromConfig(cfg, func(o *kinesisvideo.Options) {
			if opts.Endpoint != "" {
				o.BaseEndpoint = &opts.Endpoint
			}
		}),
		media:    media.NewFromConfig(cfg),
		decoders: sync.Pool{New: func() any { return new(page.Decoder) }},
	}, nil
}

// newRetryer returns the SDK's standard retryer, which knows server errors, lost
// connections and the usual throttling codes, and adds the one that this service
// throttles with: it comes as HTTP 400 and is not among the SDK's.
func newRetryer(attempts int) aws.Retryer {
	limit := map[string]struct{}{codeLimit: {}}
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = 5
		if attempts > 0 {
			o.MaxAttempts = attempts
		}
		o.Retryables = append(o.Retryables, retry.RetryableErrorCode{Codes: limit})
	})
}

// plainBody hides the WriterTo of a request's body. The SDK closes the body when
// the answer comes, and its WriteTo then fails with io.EOF, on which net/http drops
// the connection with the answer still in it. It happens when a service answers
// faster than net/http looks for the end of the body.
func plainBody(stack *middleware.Stack) error {
	return stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("PlainBody",
		func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			if req, ok := in.Request.(*smithyhttp.Request); ok {
				if body, ok := req.GetStream().(io.ReadSeeker); ok {
					plain, err := req.SetStream(struct{ io.ReadSeeker }{body})
					if err != nil {
						return middleware.FinalizeOutput{}, middleware.Metadata{}, err
					}
					in.Request = plain
				}
			}
			return next.HandleFinalize(ctx, in)
		}), middleware.Before)
}
