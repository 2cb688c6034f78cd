package kinesis

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestThrottlingSlowsThoseWhoWait throttles while a thousand requests are waiting.
func TestThrottlingSlowsThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuota()
		var sent atomic.Int64
		var wg sync.WaitGroup
		defer wg.Wait()
		for range 1000 {
			wg.Go(func() {
				if err := q.wait(t.Context()); err != nil {
					t.Error(err)
				}
				sent.Add(1)
			})
		}
		perSecond := func() int64 {
			before := sent.Load()
			time.Sleep(time.Second)
			return sent.Load() - before
		}
		time.Sleep(time.Second)
		if n := perSecond(); n < ownRequests-1 || n > ownRequests+1 {
			t.Errorf("%d a second before, want %d", n, ownRequests)
		}
		q.answered(codeLimit)
		q.answered(codeLimit)
		if n := perSecond(); n > ownRequests/4+1 {
			t.Errorf("%d a second afterwards, want %d", n, ownRequests/4)
		}
	})
}
