package kinesis

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/page"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// Error codes of the service, matched as strings: not all are modelled.
const (
	codeLimit       = "ClientLimitExceededException"
	codeNotFound    = "ResourceNotFoundException"
	codeNoRetention = "NoDataRetentionException"
)

// code returns the service's error code, "error" where there was no answer.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return "error"
}

// label returns a name for the error of which there are only so many, and which no
// answer can make up: what the service says may be anything.
func label(err error) string {
	switch c := code(err); c {
	case codeLimit, codeNotFound, codeNoRetention, "InvalidArgumentException", "IllegalArgumentException",
		"ValidationException", "NotAuthorizedException", "AccessDeniedException", "InternalFailure",
		"ServiceUnavailable", "ThrottlingException", "ExpiredTokenException", "InvalidSignatureException",
		"UnrecognizedClientException":
		return c
	}
	if st := status(err); st >= 300 && st <= 599 {
		return "HTTP " + strconv.Itoa(st)
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

// isAnswer tells whether the endpoint understood what was asked and refused it, so
// that another endpoint would say the same.
func isAnswer(err error) bool {
	switch code(err) {
	case codeLimit, codeNotFound, codeNoRetention, "InvalidArgumentException", "IllegalArgumentException", "ValidationException":
		return true
	}
	return false
}

// explain names the stream, and the class of the error where it matters.
func (s *Stream) explain(err error) error {
	switch st := status(err); {
	case expired(err):
		return fmt.Errorf("stream %s: %w", s, s.client.renewed(err))
	case code(err) == codeNotFound:
		return fmt.Errorf("%w: stream %s: %w", source.ErrNoStream, s, err)
	case code(err) == codeNoRetention:
		return fmt.Errorf("%w: stream %s keeps no media: its DataRetentionInHours must be above 0: %w", source.ErrNoStream, s, err)
	case st == http.StatusUnauthorized || st == http.StatusForbidden:
		return fmt.Errorf("%w: stream %s: the service accepts neither the credentials nor the permission "+
			"(needed: kinesisvideo:DescribeStream, GetDataEndpoint, GetImages): %w", source.ErrRefused, s, err)
	}
	return fmt.Errorf("stream %s: %w", s, err)
}

// expired tells whether the credentials were good once.
func expired(err error) bool {
	switch code(err) {
	case "ExpiredTokenException", "ExpiredToken", "RequestExpired", "TokenRefreshRequired":
		return true
	}
	return false
}

// passing tells whether an error of getting credentials may mend itself: who gives
// them is throttling, in trouble, or cannot be reached. Where there is nobody to ask,
// the SDK's last resort is the metadata service of EC2, which then cannot be reached
// either; that is as much as to have none.
func passing(err error) bool {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		st := response.HTTPStatusCode()
		if st >= http.StatusInternalServerError || st == http.StatusTooManyRequests {
			return true
		}
	}
	switch code(err) {
	case "Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded", "IDPCommunicationError":
		return true
	}
	var op *smithy.OperationError
	var unsent *smithyhttp.RequestSendError
	return errors.As(err, &op) && op.Service() != "ec2imds" && errors.As(err, &unsent)
}

// image turns an entry of the answer into ours. An entry without a picture and
// without an error, or with content that is no base64, is a media error: there is
// media, but no picture of it.
func image(img page.Image) poll.Image {
	out := poll.Image{Time: img.Time}
	switch {
	case img.Error == string(types.ImageErrorNoMedia):
		out.Err = source.ErrNoMedia
	case img.Error != "":
		out.Err = fmt.Errorf("%w: %s", source.ErrMedia, img.Error)
	case img.Err != nil:
		out.Err = fmt.Errorf("%w: content: %w", source.ErrMedia, img.Err)
	case img.Data == nil:
		out.Err = fmt.Errorf("%w: neither content nor error", source.ErrMedia)
	default:
		out.Data, out.Recycle = img.Data, img.Recycle
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
					f(label(err))
				} else {
					f("OK")
				}
				return out, meta, err
			}), "Retry", middleware.After)
	}
}
