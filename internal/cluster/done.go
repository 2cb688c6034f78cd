package cluster

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

// allDone releases the streams that have reached their end here, and tells whether all
// streams of the group have reached theirs.
func (c *Cluster) allDone(ctx context.Context) bool {
	var done []string
	for _, s := range c.matching(func(s *stream) bool { return s.end != 0 && s.active() }) {
		if cursor, known := c.leases.Load(s.Key); known && cursor >= s.end {
			done = append(done, s.Key)
			c.update(func() { s.done = true })
		}
	}
	if len(done) > 0 {
		c.release(ctx, done...)
	}
	c.readElsewhere(ctx)
	return len(c.matching(func(s *stream) bool { return !s.done })) == 0 && len(c.leases.Unsure()) == 0
}

// readElsewhere reads the cursors of the streams that other replicas run, and that have
// an end, to learn which are done.
func (c *Cluster) readElsewhere(ctx context.Context) {
	now := time.Now()
	var reads errgroup.Group
	reads.SetLimit(atOnce)
	for _, s := range c.matching(func(s *stream) bool {
		return s.end != 0 && !s.mine && !s.running && !s.done && !now.Before(s.retryAt)
	}) {
		reads.Go(func() error {
			cursor, err := c.leases.Cursor(ctx, s.Key)
			c.update(func() {
				s.done = err == nil && cursor >= s.end
				s.retryAt = now.Add(c.leases.Lease())
			})
			return nil
		})
	}
	_ = reads.Wait() // a failure is retried the next time
}
