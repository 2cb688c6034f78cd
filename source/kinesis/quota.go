package kinesis

import (
	"context"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	"github.com/aws/smithy-go/middleware"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
)

// How many of the requests that the service grants an account each second, for each
// operation of the control plane, are used here: others have streams to read, too.
const (
	ownRequests = limits.AccountRequests * 4 / 5
	// mostAtOnce bounds the requests under way. A service that has stalled receives no
	// more than these when it recovers, and may count them all in one second.
	mostAtOnce = ownRequests / 4
)

// A quota spreads the requests for one operation of the control plane, of all streams
// together, so that they keep within this process's share of the account's.
type quota struct {
	limiter *rate.Limiter
	// next admits one caller at a time to the limiter. If all waited there, each for a
	// time reserved beforehand, they would all go at once after the process has been
	// suspended, and no slower after throttling.
	next     *semaphore.Weighted
	underWay *semaphore.Weighted

	mu    sync.Mutex
	share pacing.Share
}

func newQuota() *quota {
	return &quota{
		limiter: rate.NewLimiter(ownRequests, ownRequests/4),
		next:    semaphore.NewWeighted(1), underWay: semaphore.NewWeighted(mostAtOnce), share: newShare(),
	}
}

// wait waits until a request may be sent. Its error is ctx's.
func (q *quota) wait(ctx context.Context) error {
	if err := q.next.Acquire(ctx, 1); err != nil {
		return err
	}
	defer q.next.Release(1)
	if err := q.underWay.Acquire(ctx, 1); err != nil {
		return err
	}
	q.underWay.Release(1) // the request acquires it again
	return q.limiter.Wait(ctx)
}

// spare tells whether a request may be sent at once, and counts it as sent.
func (q *quota) spare() bool {
	if !q.underWay.TryAcquire(1) {
		return false
	}
	q.underWay.Release(1)
	return q.limiter.Allow()
}

// observe watches how each attempt of a request ends. The account counts every attempt:
// the caller has waited for the first one, and the others wait here.
func (q *quota) observe(o *kinesisvideo.Options) {
	var failed error // the attempt before
	o.APIOptions = append(o.APIOptions, observe(q.answered), func(stack *middleware.Stack) error {
		return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("Quota",
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (out middleware.FinalizeOutput, meta middleware.Metadata, err error) {
				if failed != nil && q.wait(ctx) != nil {
					return out, meta, fmt.Errorf("%v, and there was no time to try again", failed) //nolint:errorlint // the SDK would retry it
				}
				if err := q.underWay.Acquire(ctx, 1); err != nil {
					return out, meta, err
				}
				defer q.underWay.Release(1)
				out, meta, failed = next.HandleFinalize(ctx, in)
				return out, meta, failed
			}), "Retry", middleware.After)
	})
}

// answered adapts the share to the service's answer to a request.
func (q *quota) answered(code string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if adapt(&q.share, code) {
		q.limiter.SetLimit(rate.Limit(q.share.Value() * ownRequests))
	}
}
