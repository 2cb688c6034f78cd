// Package kinesis reads streams of Amazon Kinesis Video Streams. It is the [poll.Fetcher]
// for the real service, and the only importer of the AWS SDK.
//
//	client, err := kinesis.New(ctx, kinesis.Options{Region: "eu-west-1"})
//	stream := client.Stream(kinesis.StreamOptions{Name: "front-door"})
//	if err := stream.Check(ctx); err != nil { … }
//	ledger := source.NewLedger(grid, source.SlotAt(client.Now()))
//	poller := poll.New(stream, ledger, poll.Options{Lag: poll.Auto, Overlap: poll.Auto, Now: client.Now})
//
// Credentials and region come from the SDK's own chain, except for streams that name their
// region. Throttling and server errors are retried with the SDK's backoff, and so is
// ClientLimitExceededException, which the SDK itself does not retry. The permissions
// needed are kinesisvideo:GetDataEndpoint, GetImages and DescribeStream; ListFragments is
// optional.
//
// Importers can rely on all of this package. Which requests it makes besides those for
// images may change with any release.
//
// The package is larger than most because everything that knows the AWS SDK is in it.
package kinesis

import (
	"context"
	"io"
	"log/slog"
	"net/http"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Options configure a [Client].
type Options struct {
	// Region of the streams that name none; default: that of the SDK's chain.
	Region string
	// Endpoint of the control plane; default: the region's.
	Endpoint string
	// AccessKey and Secret, if set, are used instead of the SDK's chain.
	AccessKey, Secret string
	// HTTPClient, if set, is used instead of the SDK's own.
	HTTPClient *http.Client
	// Logger gets the SDK's log messages, and warnings of what has changed at the service.
	// Default: they are discarded.
	Logger *slog.Logger
	// Observe, if set, is called after every attempt of a request other than GetImages, with
	// the name of its operation and its outcome, as [StreamOptions.Observe] names it.
	Observe func(operation, code string)
	// Attempts is how often a request is tried in all; default 5.
	Attempts int
}

// plainBody hides the WriterTo of a request's body. The SDK closes the body when the
// answer comes; WriteTo then fails with io.EOF, and net/http drops the connection with the
// answer still in it. That happens if a service answers before net/http has looked for the
// end of the body. The middleware comes last, because hashing the body makes use of the
// WriterTo: without it, each request would need a buffer of 32 KiB.
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
		}), middleware.After)
}
