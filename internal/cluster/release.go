package cluster

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
)

// release gives up the leases of streams that do not run here.
func (c *Cluster) release(ctx context.Context, keys ...string) {
	if err := c.leases.Release(ctx, keys...); err != nil && ctx.Err() == nil {
		c.logFailure("streams could not be released, retrying", err)
	}
}

// dropLost stops the streams whose lease is not held any more. Whatever they have in
// flight is left to the replica that holds it now.
func (c *Cluster) dropLost() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	var drops errgroup.Group
	drops.SetLimit(atOnce)
	for _, s := range c.matching(func(s *stream) bool { return s.active() && !c.leases.Holds(s.Key) }) {
		drops.Go(func() error {
			c.local.Remove(ended, s.Name)
			c.update(func() { s.running, s.retryAt = false, time.Now() })
			return nil
		})
	}
	_ = drops.Wait() // none returns an error
}

// releaseUnsure releases the streams that belong to others, but that the bucket may
// still name this replica for.
func (c *Cluster) releaseUnsure(ctx context.Context) {
	unsure := c.leases.Unsure()
	if len(unsure) == 0 {
		return
	}
	keep := map[string]bool{} // to be acquired again, or still being given away
	for _, s := range c.matching(func(s *stream) bool { return s.mine && !s.done || s.running }) {
		keep[s.Key] = true
	}
	c.release(ctx, slices.DeleteFunc(unsure, func(key string) bool { return keep[key] })...)
}

// move starts to give away some of the streams that belong to others, unless earlier
// ones are still being given away.
func (c *Cluster) move(ctx context.Context, moves *sync.WaitGroup) {
	active := c.matching((*stream).active)
	leaving := slices.DeleteFunc(slices.Clone(active), func(s *stream) bool { return s.mine })
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moving || len(leaving) == 0 || ctx.Err() != nil {
		return
	}
	c.moving = true
	leaving = leaving[:min(len(leaving), MaxMoves(len(active)))]
	moves.Go(func() {
		c.giveAway(leaving)
		c.update(func() { c.moving = false })
	})
}

// giveAway stops streams, and releases each as soon as it has finished what it has in
// flight.
func (c *Cluster) giveAway(leaving []*stream) {
	ctx, cancel := context.WithTimeout(context.Background(), pipeline.DefaultDrain)
	defer cancel()
	var all errgroup.Group
	all.SetLimit(atOnce)
	for _, s := range leaving {
		all.Go(func() error {
			c.local.Remove(ctx, s.Name)
			current := false
			c.update(func() {
				s.running, s.retryAt = false, time.Now().Add(c.leases.Lease())
				current = c.streams[s.Name] == s
			})
			if current { // otherwise the lease is that of a stream in its place
				c.release(context.WithoutCancel(ctx), s.Key)
			}
			return nil
		})
	}
	_ = all.Wait() // none returns an error
}

// handOver gives away all streams, to the members that they belong to without this
// replica.
func (c *Cluster) handOver() {
	c.leases.SetWeight(0)
	c.giveAway(c.matching((*stream).active))
}
