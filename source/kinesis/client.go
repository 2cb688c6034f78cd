package kinesis

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	media "github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia"
	"github.com/aws/smithy-go/middleware"
	"golang.org/x/sync/semaphore"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/page"
)

// renewAgain is the least time between two looks for credentials that have expired:
// static ones, and those that a tool writes into a file, the SDK reads only once.
const renewAgain = 10 * time.Second

// idleConnections to one host are kept. The SDK's own 10 are fewer than a thousand
// streams need, which would make a new connection for each request.
const idleConnections = 256

// mostInFlight bounds the requests for images, each of which takes a tenth of a MiB: where
// cores or the network are too slow for all streams, these wait in turn, and memory does
// not grow with what is behind.
const mostInFlight = 512

// A Client holds what the streams of one account share, in any region.
type Client struct {
	opts     Options
	decoders sync.Pool // of *page.Decoder: one for each page that is being read
	// Of the account: descriptions of streams, and their data endpoints.
	describes, locates *quota
	// inFlight are the requests for images that are under way.
	inFlight *semaphore.Weighted

	mu       sync.Mutex
	chain    aws.Config // what the SDK's own chain came to
	loaded   time.Time
	services map[string]*service // by region
}

// A service is that of one region.
type service struct {
	control *kinesisvideo.Client
	media   *media.Client
}

// New returns a client. It asks the SDK's chain for region and credentials. An
// error wraps [source.ErrRefused] where there are no credentials; others are of the
// configuration. Nothing is sent to the service yet. Credentials that are not to be
// had at the moment are not an error: requests look for them again.
func New(ctx context.Context, opts Options) (*Client, error) {
	c := &Client{
		opts:     opts,
		services: map[string]*service{}, describes: newQuota(), locates: newQuota(),
		inFlight: semaphore.NewWeighted(mostInFlight),
		loaded:   time.Now(),
	}
	images := new(source.Buffers[struct{}])
	c.decoders.New = func() any { return &page.Decoder{Buffers: images} }
	var err error
	if c.chain, err = load(ctx, opts); err != nil {
		return nil, fmt.Errorf("loading the AWS configuration: %w", err)
	}
	if c.chain.Region == "" {
		return nil, errors.New("no AWS region: set aws.region in the config, or AWS_REGION")
	}
	if _, err := c.Credentials(ctx); errors.Is(err, source.ErrRefused) {
		return nil, err
	}
	return c, nil
}

func load(ctx context.Context, opts Options) (aws.Config, error) {
	with := []func(*config.LoadOptions) error{
		config.WithRetryer(func() aws.Retryer { return newRetryer(opts.Attempts) }),
		config.WithAPIOptions([]func(*middleware.Stack) error{plainBody}),
		config.WithLogger(sdkLogger(opts.Logger)),
	}
	if opts.Region != "" {
		with = append(with, config.WithRegion(opts.Region))
	}
	if opts.AccessKey != "" {
		with = append(with, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(opts.AccessKey, opts.Secret, "")))
	}
	if opts.HTTPClient == nil {
		with = append(with, config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			// Many streams have the same host: what they need in turn is kept.
			t.MaxIdleConns, t.MaxIdleConnsPerHost = 2*idleConnections, idleConnections
		})))
	}
	cfg, err := config.LoadDefaultConfig(ctx, with...)
	if opts.HTTPClient != nil {
		cfg.HTTPClient = opts.HTTPClient
	}
	return cfg, err
}

// Credentials are where requests are signed from.
type Credentials struct {
	// Source is the SDK's name of the provider.
	Source string
	// Region is the one of streams that name no other.
	Region string
	// Expires is when they end, zero where they do not.
	Expires time.Time
}

// Credentials asks the SDK's chain. The error wraps [source.ErrRefused] where there
// are none, or who gives them refuses; not where asking failed in a way that may
// pass.
func (c *Client) Credentials(ctx context.Context) (Credentials, error) {
	c.mu.Lock()
	chain := c.chain
	c.mu.Unlock()
	got, err := chain.Credentials.Retrieve(ctx)
	switch {
	case err != nil && passing(err):
		return Credentials{}, fmt.Errorf("the AWS credentials are not to be had: %w", err)
	case err != nil:
		return Credentials{}, fmt.Errorf("%w: no AWS credentials: %w", source.ErrRefused, err)
	}
	found := Credentials{Source: got.Source, Region: chain.Region}
	if got.CanExpire {
		found.Expires = got.Expires
	}
	return found, nil
}

// in returns the service of a region, "" for the client's own.
func (c *Client) in(region string) *service {
	c.mu.Lock()
	defer c.mu.Unlock()
	if region == "" {
		region = c.chain.Region
	}
	if s := c.services[region]; s != nil {
		return s
	}
	chain := c.chain.Copy()
	chain.Region = region
	s := &service{
		control: kinesisvideo.NewFromConfig(chain, func(o *kinesisvideo.Options) {
			if c.opts.Endpoint != "" {
				o.BaseEndpoint = &c.opts.Endpoint
				o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateDisabled
				o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateDisabled
			}
		}),
		media: media.NewFromConfig(chain),
	}
	c.services[region] = s
	return s
}

// at has a request go to an endpoint that is given. The SDK refuses to send one there
// while FIPS or dual-stack endpoints are asked for: those it would make up itself,
// and the service's own answer is as good.
func at(o *media.Options, endpoint string) {
	o.BaseEndpoint = &endpoint
	o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateDisabled
	o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateDisabled
}

// renewed names credentials that have expired, and has others looked for.
func (c *Client) renewed(err error) error {
	c.renew()
	return fmt.Errorf("the AWS credentials have expired: renew them where they come from, such as by \"aws sso login\"; "+
		"they are looked for again: %w", err)
}

// renew has the SDK's chain look for credentials again, as at the start.
func (c *Client) renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.loaded) < renewAgain {
		return
	}
	c.loaded = time.Now()
	// Nothing is waited for: files are read, and nobody is asked yet.
	chain, err := load(context.Background(), c.opts)
	if err != nil {
		return // the old ones are no worse, and their error is told
	}
	chain.Region, chain.HTTPClient = c.chain.Region, c.chain.HTTPClient
	c.chain = chain
	clear(c.services)
}
