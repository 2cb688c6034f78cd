package kinesis

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/cvfeeder/cvfeeder/source"
)

// A refusal is what the service finds wrong with who asks, as far as its answer tells.
type refusal int

const (
	notRefused   refusal = iota
	outOfDate            // the credentials have expired
	unknownKey           // there is no such access key, or none was sent
	badSignature         // the secret does not fit, or the request was changed on its way
	noPermission         // the credentials are good, and do not allow the operation
)

// refusalOf tells which refusal an error is.
func refusalOf(err error) refusal {
	switch code(err) {
	case "ExpiredTokenException", "ExpiredToken", "RequestExpired", "TokenRefreshRequired":
		return outOfDate
	case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "MissingAuthenticationTokenException", "MissingAuthenticationToken":
		return unknownKey
	case "InvalidSignatureException", "InvalidSignature", "SignatureDoesNotMatch", "IncompleteSignatureException", "IncompleteSignature":
		return badSignature
	}
	if st := status(err); st == http.StatusUnauthorized || st == http.StatusForbidden {
		return noPermission
	}
	return notRefused
}

// refused returns the error of a request in plain words, with what to do about it. It wraps
// [source.ErrRefused] if the credentials are not accepted or lack a permission; it does not
// if they have only expired. Where they may be mended without a restart, they are loaded
// again.
func (c *Client) refused(err error) error {
	refusal := refusalOf(err)
	operation, err := operation(err), plain(err)
	switch refusal {
	case outOfDate:
		c.renew()
		return failure{fmt.Sprintf("the AWS credentials have expired: renew them where they come from, for example with \"aws sso login\"; "+
			"they will be loaded again: %v", err), errors.Join(source.ErrExpired, err)}
	case unknownKey:
		c.renew()
		return fmt.Errorf("%w: AWS does not know the access key: it was deleted or turned off, lacks its session token, or is of another "+
			"partition (aws, aws-cn, aws-us-gov); this is not a missing permission: %w", source.ErrRefused, err)
	case badSignature:
		c.renew()
		return fmt.Errorf("%w: AWS does not accept the signature: the secret does not belong to the access key, or something in between "+
			"changes requests, or the host's clock is wrong; this is not a missing permission: %w", source.ErrRefused, err)
	case noPermission:
		return fmt.Errorf("%w: the permission kinesisvideo:%s is missing: %w", source.ErrRefused, operation, err)
	}
	return err
}

// A failure is the error of a request in plain words: its cause comes first, and then which
// request it was. The SDK's own text begins with that, and a page that shows the beginning
// would not show the cause.
type failure struct {
	text string
	err  error
}

// Error implements error.
func (f failure) Error() string { return f.text }

// Unwrap returns the SDK's error.
func (f failure) Unwrap() error { return f.err }

// plain returns an error in plain words if it is one of a request.
func plain(err error) error {
	var op *smithy.OperationError
	if !errors.As(err, &op) {
		return err
	}
	text := cause(op.Err)
	var about []string
	if !strings.HasPrefix(text, op.OperationName) {
		about = append(about, op.OperationName)
	}
	if st := status(op.Err); st != 0 {
		about = append(about, "HTTP "+strconv.Itoa(st))
	}
	var tried *retry.MaxAttemptsError
	if errors.As(op.Err, &tried) {
		about = append(about, fmt.Sprintf("tried %d times", tried.Attempt))
	}
	var response *awshttp.ResponseError
	if errors.As(op.Err, &response) && response.RequestID != "" {
		about = append(about, "request "+response.RequestID)
	}
	if len(about) > 0 {
		text += " (" + strings.Join(about, ", ") + ")"
	}
	return failure{text, err}
}

// cause returns the text of what is at the bottom of a request's error.
func cause(err error) string {
	var slow unanswered
	var answer smithy.APIError
	var broken *smithy.DeserializationError
	var canceled *smithy.CanceledError
	var unsent *smithyhttp.RequestSendError
	switch {
	case errors.As(err, &slow):
		return slow.Error()
	case errors.As(err, &answer) && answer.ErrorCode() == "UnknownError":
		return "an error without a code"
	case errors.As(err, &answer):
		return strings.TrimSuffix(answer.ErrorCode()+": "+answer.ErrorMessage(), ": ")
	case errors.As(err, &broken) && broken.Err != nil:
		return "the answer cannot be read: " + broken.Err.Error()
	case errors.As(err, &canceled):
		return canceled.Err.Error()
	case errors.As(err, &unsent):
		var request *url.Error
		if errors.As(unsent.Err, &request) {
			return "no answer: " + request.Err.Error()
		}
		return "no answer: " + unsent.Err.Error()
	}
	var tried *retry.MaxAttemptsError
	if errors.As(err, &tried) {
		return tried.Err.Error()
	}
	return err.Error()
}

// operation returns the name of the operation whose error it is, such as GetImages.
func operation(err error) string {
	var op *smithy.OperationError
	if errors.As(err, &op) {
		return op.OperationName
	}
	return "*"
}
