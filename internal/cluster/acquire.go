package cluster

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
	"github.com/cvfeeder/cvfeeder/source"
)

// acquireAll tries for the leases of the streams that belong here and are due.
func (c *Cluster) acquireAll(ctx context.Context) {
	var tries errgroup.Group
	tries.SetLimit(atOnce)
	now := time.Now()
	// Where JetStream is slow, the rest is left for the next time: meanwhile other
	// streams may have to be dropped or given away.
	end := now.Add(c.leases.Lease() / 3)
	for _, s := range c.matching(func(s *stream) bool {
		return s.mine && !s.removing && !s.running && !s.done && !now.Before(s.retryAt)
	}) {
		tries.Go(func() error {
			if ctx.Err() == nil && time.Now().Before(end) {
				c.acquire(ctx, s)
			}
			return nil
		})
	}
	_ = tries.Wait() // none returns an error
}

// acquire tries for the lease of one stream, and runs the stream where it gets it.
func (c *Cluster) acquire(ctx context.Context, s *stream) {
	h, err := c.leases.Acquire(ctx, lease.Claim{
		Key: s.Key, Now: s.fromNow, End: s.end,
		First: func(ctx context.Context) (source.Slot, error) { return c.first(ctx, s) },
	})
	if err != nil && ctx.Err() == nil {
		c.logFailure("a stream could not be acquired, retrying", err, "stream", s.Name)
	}
	if err == nil && h.Held {
		if c.opts.Gained != nil {
			c.opts.Gained(s.Stream)
		}
		c.start(ctx, s)
		return
	}
	wait := c.leases.Lease() // sooner where its owner releases it, or leaves the group
	if err == nil && h.Owner == "" {
		wait /= 6
	}
	c.update(func() {
		s.owner, s.retryAt = h.Owner, time.Now().Add(pacing.Jitter(wait, wait/4))
		s.done = err == nil && s.end != 0 && h.Cursor >= s.end
	})
}

// first returns the first slot of a stream that has no cursor, or none that still
// counts.
func (c *Cluster) first(ctx context.Context, s *stream) (source.Slot, error) {
	begin := s.Stream
	if s.fromNow {
		begin.Key, begin.From = "", max(begin.From, source.SlotAt(c.opts.Now()))
	}
	return c.opts.First(ctx, begin)
}

// start runs a stream that was acquired, unless it is no longer one of the group's.
func (c *Cluster) start(ctx context.Context, s *stream) {
	c.mu.Lock()
	wanted := c.streams[s.Name] == s && !s.removing
	if wanted {
		s.running, s.owner = true, c.leases.Member()
		c.local.Add(s.Stream)
	}
	c.mu.Unlock()
	if !wanted {
		c.release(context.WithoutCancel(ctx), s.Key)
	}
}
