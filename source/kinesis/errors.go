package kinesis

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/page"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// Error codes of the service. They are compared as strings, as not all are modelled.
const (
	codeLimit       = "ClientLimitExceededException"
	codeNotFound    = "ResourceNotFoundException"
	codeNoRetention = "NoDataRetentionException"
)

// noAnswer stands for the code of an error that is not the service's.
const noAnswer = "error"

// code returns the service's error code, [noAnswer] if there is none.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return noAnswer
}

// label returns the error's name for metrics. There is a fixed set of names, because the
// code in an answer may be anything.
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

// status returns the HTTP status of the answer, 0 if there was none.
func status(err error) int {
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) {
		return resp.HTTPStatusCode()
	}
	return 0
}

// isAnswer tells whether the endpoint understood the request and refused it, so that
// another endpoint would probably do the same.
func isAnswer(err error) bool {
	switch code(err) {
	case codeLimit, codeNotFound, codeNoRetention:
		return true
	}
	return isRefusal(err)
}

// isRefusal tells whether the endpoint refused the request as impossible. An endpoint that
// no longer serves the stream may do that, too, and the service does it for windows outside
// of the retention.
func isRefusal(err error) bool {
	switch code(err) {
	case "InvalidArgumentException", "IllegalArgumentException", "ValidationException":
		return true
	}
	return false
}

// isEmpty tells whether the service found no media in a window. It says so with the code of a
// stream that does not exist, or refuses the window and names the reason.
func isEmpty(err error) bool {
	return code(err) == codeNotFound ||
		isRefusal(err) && strings.Contains(strings.ToLower(err.Error()), "no fragments found")
}

// explain adds the stream to an error, and its class where that matters.
func (s *Stream) explain(err error) error {
	switch st := status(err); {
	case expired(err):
		return fmt.Errorf("stream %s: %w", s, s.client.expiredError(err))
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

// expired tells whether the credentials have expired.
func expired(err error) bool {
	switch code(err) {
	case "ExpiredTokenException", "ExpiredToken", "RequestExpired", "TokenRefreshRequired":
		return true
	}
	return false
}

// temporary tells whether a failure to get credentials may pass: their provider throttles,
// fails internally, or cannot be reached. If no provider is configured, the SDK's last
// resort is the metadata service of EC2; that this cannot be reached means that there are
// no credentials.
func temporary(err error) bool {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		st := response.HTTPStatusCode()
		if st >= http.StatusInternalServerError || st == http.StatusTooManyRequests {
			return true
		}
	}
	var answer smithy.APIError
	if errors.As(err, &answer) && answer.ErrorFault() == smithy.FaultServer {
		return true // also an answer without a code, such as a 500 with some text
	}
	var slow unanswered
	if errors.As(err, &slow) {
		return true
	}
	switch code(err) {
	case "Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded", "IDPCommunicationError":
		return true
	}
	var op *smithy.OperationError
	var unsent *smithyhttp.RequestSendError
	return errors.As(err, &op) && op.Service() != "ec2imds" && errors.As(err, &unsent)
}

// image converts an entry of the answer. One with neither picture nor error says nothing of
// the media. One whose content is not base64 is a media error: there is media, but no
// picture of it.
func image(img page.Image) poll.Image {
	out := poll.Image{Time: img.Time}
	switch {
	case img.Error == string(types.ImageErrorNoMedia):
		out.Err = source.ErrNoMedia
	case img.Error != "":
		out.Err = fmt.Errorf("%w: %s", source.ErrMedia, img.Error)
	case img.Err != nil:
		out.Err = fmt.Errorf("%w: content: %w", source.ErrMedia, img.Err)
	case len(img.Data) == 0:
		out.Err = poll.ErrNoContent
	default:
		out.Data, out.Recycle = img.Data, img.Recycle
	}
	return out
}

// observe calls f with the outcome of every attempt of a request.
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
