package kinesis

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

// newRetryer returns the SDK's standard retryer, which retries server errors, lost
// connections and the usual throttling codes. It adds the code with which this service
// throttles: that comes as HTTP 400 and is not among the SDK's.
func newRetryer(attempts int) aws.Retryer {
	limit := map[string]struct{}{codeLimit: {}}
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = 5
		if attempts > 0 {
			o.MaxAttempts = attempts
		}
		o.Retryables = append(o.Retryables, retry.RetryableErrorCode{Codes: limit})
	})
}
