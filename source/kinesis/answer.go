package kinesis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"golang.org/x/sync/semaphore"

	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
)

// The SDK reads an answer into memory before it looks at it, and an error even several
// times. So much may an answer have, in bytes and in values, before it is given up. A value
// takes more memory than it has bytes.
const (
	mostBytes      = 1 << 20 // of an answer, and of any error
	mostListBytes  = 16 << 20
	mostImageBytes = limits.MaxResults*limits.MaxContent + 2<<20 // they are read as they arrive
	mostValues     = 10_000
	mostListValues = 250_000
	// Beyond smallAnswer, all answers together may have mostTogether.
	smallAnswer  = 64 << 10
	mostTogether = 64 << 20
	// mostHeader is how many bytes the header of an answer may have.
	mostHeader = 64 << 10
)

// answers bounds what the SDK reads, from the service and from providers of credentials. It
// is the only step between the SDK and the network that every answer takes.
type answers struct {
	memory *semaphore.Weighted // of large answers
}

func newAnswers() *answers { return &answers{semaphore.NewWeighted(mostTogether)} }

// bound has each attempt of a request take the step. It must be the last to be added that
// reads the body.
func (a *answers) bound(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("Bound",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			if req, ok := in.Request.(*smithyhttp.Request); ok {
				// Without it, net/http asks for gzip, and inflates that without limit.
				req.Header.Set("Accept-Encoding", "identity")
			}
			out, meta, err := next.HandleDeserialize(ctx, in)
			if resp, ok := out.RawResponse.(*smithyhttp.Response); ok && resp.Body != nil {
				resp.Body = a.body(resp, awsmiddleware.GetOperationName(ctx))
			}
			return out, meta, err
		}), middleware.After)
}

// body returns the bounded body of an operation's answer.
func (a *answers) body(resp *smithyhttp.Response, operation string) io.ReadCloser {
	if operation == "" {
		operation = "a request for credentials"
	}
	b := &boundedBody{body: resp.Body, operation: operation, bytes: mostBytes, values: mostValues, memory: a.memory}
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		_ = b.fail("is encoded, and that was not asked for")
	}
	if resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusMultipleChoices {
		return b
	}
	switch operation {
	case "GetImages":
		b.bytes, b.memory = mostImageBytes, nil
	case "ListStreams":
		b.bytes, b.values = mostListBytes, mostListValues
	}
	return b
}

// A boundedBody is the body of an answer that fails once it has too much.
type boundedBody struct {
	body          io.ReadCloser
	operation     string
	bytes, values int                 // that it may still have
	memory        *semaphore.Weighted // nil if the body is not kept
	read, taken   int
	err           error
}

// Read implements [io.Reader].
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.body.Read(p[:min(len(p), smallAnswer)])
	b.err = err
	if b.bytes -= n; b.bytes < 0 {
		return 0, b.fail("is too large: it has more than %d bytes", b.read+n+b.bytes)
	}
	b.read += n
	if b.memory == nil {
		return n, b.err
	}
	// Each value but the first has one of these before it. Those within texts count as well.
	if b.values -= bytes.Count(p[:n], []byte{','}) + bytes.Count(p[:n], []byte{'['}) + bytes.Count(p[:n], []byte{'{'}); b.values < 0 {
		return 0, b.fail("is too large: it has too many values")
	}
	if more := b.read - smallAnswer - b.taken; more > 0 {
		if !b.memory.TryAcquire(int64(more)) {
			return 0, b.fail("is too large beside others: they have more than %d bytes together", mostTogether)
		}
		b.taken += more
	}
	return n, b.err
}

// errAnswer is wrapped by the error for an answer that is given up.
var errAnswer = errors.New("no service answers like that")

// fail ends the answer.
func (b *boundedBody) fail(format string, args ...any) error {
	b.err = fmt.Errorf("the answer to %s %s: %w", b.operation, fmt.Sprintf(format, args...), errAnswer)
	return b.err
}

// Close implements [io.Closer].
func (b *boundedBody) Close() error {
	if b.taken > 0 {
		b.memory.Release(int64(b.taken))
		b.taken = 0
	}
	return b.body.Close()
}
