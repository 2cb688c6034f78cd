package kinesis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	media "github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/cvfeeder/cvfeeder/source/kinesis/page"
)

// tailSize is how much may follow the answer in a body that is read to its end,
// as it has to be for its connection to be used again.
const tailSize = 4 << 10

// decodeWith puts a [decoder] in the place of the SDK's deserializer.
func decodeWith(d *decoder) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) (err error) {
		d.sdk, err = stack.Deserialize.Swap(d.ID(), d)
		return err
	}
}

// A decoder is the deserialize step of GetImages: it hands over the images while
// the answer still arrives, where the SDK's own holds all of it, several times, to
// begin with. Its output has the NextToken, and Images that are empty, or nil
// where the answer has none. What is not an answer with images is left to the
// SDK's step, and so the errors are the SDK's.
type decoder struct {
	pool  *sync.Pool // of *page.Decoder
	sdk   middleware.DeserializeMiddleware
	yield func(page.Image) bool
}

// ID implements [middleware.DeserializeMiddleware]; others find their place by it.
func (d *decoder) ID() string { return "OperationDeserializer" }

// HandleDeserialize implements [middleware.DeserializeMiddleware].
func (d *decoder) HandleDeserialize(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
	out, meta, err := next.HandleDeserialize(ctx, in)
	resp, ok := out.RawResponse.(*smithyhttp.Response)
	if err != nil || !ok || resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusMultipleChoices {
		return d.sdk.HandleDeserialize(ctx, in, middleware.DeserializeHandlerFunc(
			func(context.Context, middleware.DeserializeInput) (middleware.DeserializeOutput, middleware.Metadata, error) {
				return out, meta, err
			}))
	}
	out.Result, err = d.decode(resp)
	return out, meta, err
}

// decode yields the images of the answer.
func (d *decoder) decode(resp *smithyhttp.Response) (*media.GetImagesOutput, error) {
	body := resp.Body
	// The SDK reads what is left of the body, however long: nothing is left for it.
	resp.Body = http.NoBody
	defer body.Close()

	dec := d.pool.Get().(*page.Decoder)
	defer d.pool.Put(dec)
	yielded, more := false, true
	token, err := dec.Decode(body, func(img page.Image) bool {
		yielded = true
		more = d.yield(img)
		return more
	})
	out := &media.GetImagesOutput{Images: []types.Image{}, NextToken: &token}
	switch {
	case errors.Is(err, page.ErrNoImages):
		out.Images = nil
	case err != nil:
		err = &smithy.DeserializationError{Err: fmt.Errorf("failed to decode response body, %w", err)}
		if yielded {
			err = final{err}
		}
		return nil, err
	}
	if more {
		_, _ = io.CopyN(io.Discard, body, tailSize)
	}
	return out, nil
}

// final marks an error as one that the SDK must not retry: the images that came
// before it would come, and be paid for, again. Whoever misses one asks for it.
type final struct{ error }

// Unwrap returns the error that is marked.
func (f final) Unwrap() error { return f.error }

// RetryableError is what the SDK asks.
func (final) RetryableError() bool { return false }
