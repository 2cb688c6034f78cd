package kinesis

import (
	"context"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	"github.com/aws/smithy-go/middleware"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// The requests that an account has a second of each operation of the control plane,
// and what of them is used here: others have streams to read, too.
const (
	controlRequests = 300
	ownRequests     = controlRequests * 4 / 5
	// mostAtOnce are under way at a time. A service that stands still finds no more
	// when it goes on, which it may count in one second.
	mostAtOnce = ownRequests / 4
)

// A quota spreads the requests of one operation of the control plane, of all streams
// together, so that they keep within the account's. Those that others use show as
// throttling, as with a budget.
type quota struct {
	limiter *rate.Limiter
	// turn is of the one that waits for the limiter. If all did, each for a time of its
	// own, they would go together after the process has stood still, and as fast as
	// before when there has been throttling.
	turn     *semaphore.Weighted
	underWay *semaphore.Weighted

	mu    sync.Mutex
	share float64
}

func newQuota() *quota {
	return &quota{
		limiter: rate.NewLimiter(ownRequests, ownRequests/4),
		turn:    semaphore.NewWeighted(1), underWay: semaphore.NewWeighted(mostAtOnce), share: 1,
	}
}

// wait returns when a request may be sent, or ctx's error.
func (q *quota) wait(ctx context.Context) error {
	if err := q.turn.Acquire(ctx, 1); err != nil {
		return err
	}
	defer q.turn.Release(1)
	if err := q.underWay.Acquire(ctx, 1); err != nil {
		return err
	}
	q.underWay.Release(1) // the request takes it
	return q.limiter.Wait(ctx)
}

// spare tells whether a request may be sent at once, and takes it to be.
func (q *quota) spare() bool {
	if !q.underWay.TryAcquire(1) {
		return false
	}
	q.underWay.Release(1)
	return q.limiter.Allow()
}

// observe takes note of how each attempt of a request ends. The account counts them all:
// those after the first, which the caller has waited for, wait here.
func (q *quota) observe(o *kinesisvideo.Options) {
	var failed error // the attempt before
	o.APIOptions = append(o.APIOptions, observe(q.answered), func(stack *middleware.Stack) error {
		return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("Quota",
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (out middleware.FinalizeOutput, meta middleware.Metadata, err error) {
				if failed != nil && q.wait(ctx) != nil {
					return out, meta, fmt.Errorf("%v, and there was no time to try again", failed) //nolint:errorlint // it would be tried again
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

// answered takes note of the service's answer to a request.
func (q *quota) answered(code string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case code == codeLimit:
		q.share = max(q.share/2, leastShare)
	case q.share < 1:
		q.share = min(q.share+recovery, 1)
	default:
		return
	}
	q.limiter.SetLimit(rate.Limit(q.share * ownRequests))
}
