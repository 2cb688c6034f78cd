package kinesis

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/cvfeeder/cvfeeder/source"
)

// Error codes of the service, matched as strings: not all are modelled.
const (
	codeLimit    = "ClientLimitExceededException"
	codeNotFound = "ResourceNotFoundException"
)

// code returns the service's error code, "error" where there was no answer.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return "error"
}

// status returns the HTTP status of the answer, 0 where there was none.
func status(err error) int {
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) {
		return resp.HTTPStatusCode()
	}
	return 0
}

// isAnswer tells whether the endpoint itself refused what was asked, so that
// another endpoint would say the same.
func isAnswer(err error) bool {
	st := status(err)
	return st == http.StatusBadRequest || st == http.StatusNotFound
}

// explain names the stream, and the class of the error where it matters.
func (s *Stream) explain(err error) error {
	switch st := status(err); {
	case code(err) == codeNotFound:
		return fmt.Errorf("%w: stream %s: %w", source.ErrNoStream, s, err)
	case code(err) == "NoDataRetentionException":
		return fmt.Errorf("%w: stream %s keeps no media: its DataRetentionInHours must be above 0: %w", source.ErrNoStream, s, err)
	case st == http.StatusUnauthorized || st == http.StatusForbidden:
		return fmt.Errorf("%w: stream %s: the service accepts neither the credentials nor the permission "+
			"(needed: kinesisvideo:DescribeStream, GetDataEndpoint, GetImages): %w", source.ErrRefused, s, err)
	}
	return fmt.Errorf("stream %s: %w", s, err)
}

// image turns an entry of the answer into ours. An entry without a picture and
// without an error, or with content that is no base64, is a media error: there is
// media, but no picture of it.
func image(img types.Image) source.Image {
	out := source.Image{Time: *img.TimeStamp}
	switch {
	case img.Error == types.ImageErrorNoMedia:
		out.Err = source.ErrNoMedia
	case img.Error != "":
		out.Err = fmt.Errorf("%w: %s", source.ErrMedia, img.Error)
	case img.ImageContent == nil:
		out.Err = fmt.Errorf("%w: neither content nor error", source.ErrMedia)
	default:
		data, err := base64.StdEncoding.DecodeString(aws.ToString(img.ImageContent))
		if err != nil {
			out.Err = fmt.Errorf("%w: content: %w", source.ErrMedia, err)
		}
		out.Data = data
	}
	return out
}

// observe tells f the outcome of every attempt of a request.
func observe(f func(code string)) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("Observe",
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
				out, meta, err := next.HandleFinalize(ctx, in)
				if err != nil {
					f(code(err))
				} else {
					f("OK")
				}
				return out, meta, err
			}), "Retry", middleware.After)
	}
}
