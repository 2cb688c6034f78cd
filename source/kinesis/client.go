package kinesis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	"golang.org/x/time/rate"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/page"
)

// renewAgain is the least time between two attempts to load expired credentials anew. The
// SDK reads static credentials, and those that a tool writes into a file, only once.
const renewAgain = 10 * time.Second

// idleConnections is how many idle connections to one host are kept. The SDK's default of
// 10 is too few for a thousand streams: each request would need a new connection.
const idleConnections = 256

// mostInFlight bounds the requests for images that are under way, each of which needs a
// tenth of a MiB. If the cores or the network are too slow for all streams, requests wait
// for one another, and memory does not grow with the backlog.
const mostInFlight = 512

// A Client holds what the streams of one account share, in any region.
type Client struct {
	opts     Options
	decoders sync.Pool // of *page.Decoder: one for each page that is being read
	// The account's quotas of DescribeStream and of GetDataEndpoint.
	describes, locates *quota
	// doubts limits how many endpoints that may have moved are looked up again.
	doubts *rate.Limiter
	log    *slog.Logger
	// inFlight are the requests for images that are under way.
	inFlight *semaphore.Weighted
	warn     func(operation string, err error) // of an operation that is not answered
	answers  *answers
	clock    *clock

	mu       sync.Mutex
	chain    aws.Config // the result of the SDK's own chain
	loaded   time.Time
	services map[string]*service // by region
}

// A service is the clients of one region.
type service struct {
	control *kinesisvideo.Client
	media   *media.Client
	domain  domain // of the data endpoints
}

// New returns a client. It gets the region and the providers of credentials from the SDK's
// chain, and sends nothing yet, so that it takes no time: [Client.Credentials] tells
// whether there are credentials. Errors are about the configuration.
func New(ctx context.Context, opts Options) (*Client, error) {
	c := &Client{
		opts:     opts,
		services: map[string]*service{}, describes: newQuota(), locates: newQuota(), doubts: newDoubts(),
		log:      cmp.Or(opts.Logger, slog.New(slog.DiscardHandler)),
		inFlight: semaphore.NewWeighted(mostInFlight),
		loaded:   time.Now(), clock: newClock(time.Now, opts.Logger), answers: newAnswers(),
	}
	if c.opts.Observe == nil {
		c.opts.Observe = func(string, string) {}
	}
	c.warn = c.warner()
	images := new(source.Buffers[struct{}])
	c.decoders.New = func() any { return &page.Decoder{Buffers: images} }
	var err error
	if c.chain, err = c.load(ctx); err != nil {
		return nil, fmt.Errorf("loading the AWS configuration: %w", err)
	}
	if c.chain.Region == "" {
		return nil, errors.New("no AWS region: set aws.region in the config, or AWS_REGION")
	}
	return c, nil
}

// load has the SDK's chain find the region and the providers of credentials.
func (c *Client) load(ctx context.Context) (aws.Config, error) {
	opts := c.opts
	with := []func(*config.LoadOptions) error{
		config.WithRetryer(func() aws.Retryer { return newRetryer(opts.Attempts) }),
		config.WithAPIOptions([]func(*middleware.Stack) error{plainBody, c.answers.bound}),
		config.WithLogger(sdkLogger(opts.Logger)),
	}
	if opts.Region != "" {
		with = append(with, config.WithRegion(opts.Region))
	}
	if opts.AccessKey != "" {
		with = append(with, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(opts.AccessKey, opts.Secret, "")))
	}
	// The providers of credentials get the client with a timeout: the SDK lets all callers
	// wait for one request, which has no deadline of its own.
	with = append(with, config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(answerTime).WithTransportOptions(func(t *http.Transport) {
		// Many streams share a host, and use its connections in turn.
		t.MaxIdleConns, t.MaxIdleConnsPerHost = 2*idleConnections, idleConnections
		t.MaxResponseHeaderBytes = mostHeader
	})))
	cfg, err := config.LoadDefaultConfig(ctx, with...)
	if err != nil {
		return cfg, err
	}
	if client, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		cfg.HTTPClient = client.WithTimeout(0)
	}
	if opts.HTTPClient != nil {
		cfg.HTTPClient = opts.HTTPClient
	}
	if cfg.Credentials != nil {
		cfg.Credentials = boundedCredentials{cfg.Credentials, patience{answerTime, c.warn}}
	}
	return cfg, nil
}

// Credentials describe the credentials with which requests are signed.
type Credentials struct {
	// Source is the SDK's name of their provider.
	Source string
	// Region is that of streams that name none.
	Region string
	// Expires is when they expire, zero if they do not.
	Expires time.Time
}

// Credentials gets credentials from the SDK's chain. The error wraps [source.ErrRefused]
// if there are none, or their provider refuses; it does not if the failure is temporary.
func (c *Client) Credentials(ctx context.Context) (Credentials, error) {
	c.mu.Lock()
	chain := c.chain
	c.mu.Unlock()
	got, err := chain.Credentials.Retrieve(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return Credentials{}, context.Cause(ctx) // which says nothing of the credentials
	case err != nil && temporary(err):
		return Credentials{}, fmt.Errorf("the AWS credentials cannot be obtained at the moment: %w", err)
	case err != nil:
		return Credentials{}, fmt.Errorf("%w: no AWS credentials: %w", source.ErrRefused, err)
	}
	found := Credentials{Source: got.Source, Region: chain.Region}
	if got.CanExpire {
		found.Expires = got.Expires
	}
	return found, nil
}

// service returns the clients of a region, "" for the client's own.
func (c *Client) service(region string) *service {
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
			o.HTTPClient = staying(o.HTTPClient)
			o.APIOptions = append(o.APIOptions, patience{answerTime, c.warn}.deadline, c.clock.observe, count(c.opts.Observe))
			if c.opts.Endpoint != "" {
				o.BaseEndpoint = &c.opts.Endpoint
				o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateDisabled
				o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateDisabled
			}
		}),
		media: media.NewFromConfig(chain, func(o *media.Options) {
			o.HTTPClient = staying(o.HTTPClient)
			o.APIOptions = append(o.APIOptions, c.clock.observe, count(c.opts.Observe))
		}),
	}
	s.domain = domain{region: region, own: s.control.Options().BaseEndpoint}
	c.services[region] = s
	return s
}

// useEndpoint sends a request to the given endpoint. The SDK refuses to do that if FIPS or
// dual-stack endpoints are configured, because it would construct those itself; the
// endpoint that the service named is as good.
func useEndpoint(o *media.Options, endpoint string) {
	o.BaseEndpoint = &endpoint
	o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateDisabled
	o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateDisabled
}

// renew has the SDK's chain load credentials again, as at the start.
func (c *Client) renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.loaded) < renewAgain {
		return
	}
	c.loaded = time.Now()
	// This takes no time: it reads files, and sends no request yet.
	chain, err := c.load(context.Background())
	if err != nil {
		return // the old ones are no worse, and their error is reported
	}
	chain.Region, chain.HTTPClient = c.chain.Region, c.chain.HTTPClient
	c.chain = chain
	clear(c.services)
}
