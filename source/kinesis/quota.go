package kinesis

import (
	"context"
	"sync"

	"golang.org/x/time/rate"
)

// The requests that an account has a second of each operation of the control plane,
// and what of them is used here: others have streams to read, too.
const (
	controlRequests = 300
	ownRequests     = controlRequests * 4 / 5
)

// A quota spreads the requests of one operation of the control plane, of all streams
// together, so that they keep within the account's. Those that others use show as
// throttling, as with a budget.
type quota struct {
	limiter *rate.Limiter

	mu    sync.Mutex
	share float64
}

func newQuota() *quota {
	return &quota{limiter: rate.NewLimiter(ownRequests, ownRequests/4), share: 1}
}

// wait returns when a request may be sent, or ctx's error.
func (q *quota) wait(ctx context.Context) error { return q.limiter.Wait(ctx) }

// spare tells whether a request may be sent at once, and takes it to be.
func (q *quota) spare() bool { return q.limiter.Allow() }

// answered takes note of how a request ended.
func (q *quota) answered(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case err != nil && code(err) == codeLimit:
		q.share = max(q.share/2, leastShare)
	case q.share < 1:
		q.share = min(q.share+recovery, 1)
	default:
		return
	}
	q.limiter.SetLimit(rate.Limit(q.share * ownRequests))
}
