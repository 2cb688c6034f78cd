package kinesis

import (
	"context"
	"errors"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	"github.com/aws/smithy-go/middleware"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
)

const (
	// ownRequests is how many of the account's requests each second, for each operation
	// of the control plane, this process uses: other clients read streams, too.
	ownRequests = limits.AccountRequests * 4 / 5
	// mostAtOnce bounds the requests under way. After a stall, the service may receive all
	// of them at once, and count them all in one second.
	mostAtOnce = ownRequests / 4
)

// A quota delays the requests for one operation of the control plane, those of all streams
// together, so that they keep within this process's share of the account's requests.
type quota struct {
	limiter *rate.Limiter
	// next admits one caller at a time to the limiter. The limiter reserves a time for
	// each caller that waits. If all waited there, they would all go at once after the
	// process had been suspended, and throttling would not slow them down.
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

// wait waits until a request may be sent. The error is ctx's.
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

// observe makes each attempt of a request count, as the account does: the caller has
// waited for the first one, and the others wait here. Each attempt's outcome adapts the
// share.
func (q *quota) observe(o *kinesisvideo.Options) {
	var failed error // of the attempt before
	o.APIOptions = append(o.APIOptions, observe(q.answered), func(stack *middleware.Stack) error {
		return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("Quota",
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (out middleware.FinalizeOutput, meta middleware.Metadata, err error) {
				if failed != nil && q.wait(ctx) != nil {
					return out, meta, errors.New(cause(failed) + ", and no time is left to try again") // the SDK would retry what it knows
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
