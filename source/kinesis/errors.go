package kinesis

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
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

const (
	// noAnswer stands for the code of an error that is not the service's.
	noAnswer = "error"
	// tooLate is the name in metrics of a request that was not answered in time.
	tooLate = "deadline"
	// nothingThere is the name in metrics of the answer [codeNotFound] to a request for
	// images of a stream that exists: its window has no media, which is not an error.
	nothingThere = "empty"
)

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
		"IncompleteSignatureException", "MissingAuthenticationTokenException", "InvalidClientTokenId",
		"UnrecognizedClientException":
		return c
	}
	if st := status(err); st >= 300 && st <= 599 {
		return "HTTP " + strconv.Itoa(st)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return tooLate
	}
	return noAnswer
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

// explain returns the error of a request in plain words, with its class where that matters.
// Like all errors of a [Stream], it does not name the stream: whoever has several streams
// does, where it passes the error on.
func (s *Stream) explain(err error) error {
	switch code(err) {
	case codeNotFound:
		return fmt.Errorf("%w: %w", source.ErrNoStream, plain(err))
	case codeNoRetention:
		return fmt.Errorf("%w: %w", errNoRetention, plain(err))
	case codeLimit, "ThrottlingException":
		return fmt.Errorf("%w: %w", source.ErrThrottled, plain(err))
	}
	return s.client.refused(err)
}

var errNoRetention = fmt.Errorf("%w that keeps media: its DataRetentionInHours must be above 0", source.ErrNoStream)

// temporary tells whether a failure to get credentials may pass: their provider throttles,
// fails internally, answers without end, or cannot be reached. If no provider is configured,
// the SDK's last resort is the metadata service of EC2; that this cannot be reached means
// that there are no credentials.
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
	if errors.As(err, &slow) || errors.Is(err, errAnswer) {
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
	return attempts("Observe", func(_ context.Context, err error) { f(outcome(err)) })
}

// count calls f with the outcome of every attempt of a request other than GetImages, which
// is counted by stream. An attempt that the process itself gave up is left out.
func count(f func(operation, code string)) func(*middleware.Stack) error {
	return attempts("Count", func(ctx context.Context, err error) {
		if name := awsmiddleware.GetOperationName(ctx); name != "GetImages" && !errors.Is(err, context.Canceled) {
			f(name, outcome(err))
		}
	})
}

// outcome returns the name of the outcome of an attempt for metrics.
func outcome(err error) string {
	if err != nil {
		return label(err)
	}
	return "OK"
}

// attempts calls f after every attempt of a request.
func attempts(id string, f func(context.Context, error)) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc(id,
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
				out, meta, err := next.HandleFinalize(ctx, in)
				f(ctx, err)
				return out, meta, err
			}), "Retry", middleware.After)
	}
}
