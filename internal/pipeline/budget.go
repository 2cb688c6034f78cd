package pipeline

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// A budget bounds the bytes of frames and tensors between the feeds and the delivery.
type budget struct {
	limit int64
	free  *semaphore.Weighted
	used  atomic.Int64
}

func newBudget(limit int64) *budget {
	limit = max(limit, 1) // with 0, frames would cost nothing
	return &budget{limit: limit, free: semaphore.NewWeighted(limit)}
}

// take waits until there is room for n bytes and returns what it took, or false where
// ctx ended first. An item larger than the whole budget runs on its own.
func (b *budget) take(ctx context.Context, n int64) (taken int64, ok bool) {
	n = min(n, b.limit)
	if b.free.Acquire(ctx, n) != nil {
		return 0, false
	}
	b.used.Add(n)
	return n, true
}

func (b *budget) give(n int64) {
	b.used.Add(-n)
	b.free.Release(n)
}

// admit passes a job to the workers once the budget has room for it. It returns false
// when ctx ends first.
func (p *Pipeline) admit(ctx context.Context, j *job) bool {
	var ok bool
	if j.cost, ok = p.budget.take(ctx, j.bytes()); !ok {
		return false
	}
	select {
	case p.jobs <- j:
		return true
	case <-ctx.Done():
		p.release(j)
		return false
	}
}

// release gives back what a job holds.
func (p *Pipeline) release(j *job) {
	for _, t := range j.result.tensors {
		if t != nil {
			t.Release()
		}
	}
	p.budget.give(j.cost)
}
