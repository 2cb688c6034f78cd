package kinesis

import (
	"cmp"
	"context"
	"errors"
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

// tailSize is how much may follow the answer in a body that is still read to its end, so
// that its connection can be used again.
const tailSize = 4 << 10

// decodeWith replaces the SDK's deserializer by a [decoder].
func decodeWith(d *decoder) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) (err error) {
		d.sdk, err = stack.Deserialize.Swap(d.ID(), d)
		return err
	}
}

// A decoder is the deserialize step of GetImages. It hands over the images while the
// answer is still arriving; the SDK's own step first reads all of the answer, and holds
// several copies of it. The output has the NextToken, and Images that are empty, or nil if
// the answer has none. Anything but an answer with images is left to the SDK's step, so
// the errors are the SDK's.
type decoder struct {
	pool     *sync.Pool // of *page.Decoder
	sdk      middleware.DeserializeMiddleware
	yield    func(page.Image) bool
	token    string   // of the next page, after an answer that was read to its end
	patience patience // with each part of the answer
}

// ID implements [middleware.DeserializeMiddleware]. It is that of the SDK's step, relative
// to which other steps are placed.
func (d *decoder) ID() string { return "OperationDeserializer" }

// HandleDeserialize implements [middleware.DeserializeMiddleware].
func (d *decoder) HandleDeserialize(parent context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
	ctx, watch := watchStalls(parent, d.patience.limit)
	defer watch.end()
	out, meta, err := next.HandleDeserialize(ctx, in)
	watch.timer.Stop()
	if err != nil && watch.over(parent) {
		return out, meta, d.patience.unanswered(parent, d.patience.limit, "has not answered")
	}
	stalled := func() error {
		if !watch.over(parent) {
			return nil
		}
		return d.patience.unanswered(parent, watch.waited(), "has not sent the rest of its answer")
	}
	resp, ok := out.RawResponse.(*smithyhttp.Response)
	if ok {
		resp.Body = watchedBody{resp.Body, watch}
	}
	if err != nil || !ok || resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusMultipleChoices {
		out, meta, err := d.sdk.HandleDeserialize(ctx, in, middleware.DeserializeHandlerFunc(
			func(context.Context, middleware.DeserializeInput) (middleware.DeserializeOutput, middleware.Metadata, error) {
				return out, meta, err
			}))
		return out, meta, cmp.Or(stalled(), err)
	}
	out.Result, err = d.decode(resp, stalled)
	return out, meta, err
}

// decode yields the images of the answer. stalled returns an error if the service has
// stopped sending it.
func (d *decoder) decode(resp *smithyhttp.Response, stalled func() error) (*media.GetImagesOutput, error) {
	body := resp.Body
	// The SDK would read the rest of the body, however long: leave it none.
	resp.Body = http.NoBody
	defer body.Close()

	dec := d.pool.Get().(*page.Decoder)
	defer d.pool.Put(dec)
	yielded, more := false, true
	d.token = "" // of an earlier attempt
	token, err := dec.Decode(body, func(img page.Image) bool {
		yielded = true
		more = d.yield(img)
		return more
	})
	d.token = token
	out := &media.GetImagesOutput{Images: []types.Image{}, NextToken: &token}
	switch {
	case errors.Is(err, page.ErrNoImages):
		out.Images = nil
	case err != nil:
		err = &smithy.DeserializationError{Err: err}
		if slow := stalled(); slow != nil {
			err = slow
		}
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

// final marks an error that the SDK must not retry: the images before it would come again,
// and be paid for again. The poller asks for those that are missing.
type final struct{ error }

// Unwrap returns the marked error.
func (f final) Unwrap() error { return f.error }

// RetryableError tells the SDK not to retry.
func (final) RetryableError() bool { return false }
