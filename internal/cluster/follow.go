package cluster

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
)

// Follow returns what [pipeline.Pipeline.Run] is to follow. It runs this replica's part
// of the streams in the pipeline's set, and returns when its context ends, after the
// streams have been handed over. next, where set, runs at the same time, with the
// cluster in place of the pipeline's set. Without next, Follow also returns when all
// streams are done, which only streams with an end can be.
func (c *Cluster) Follow(next func(context.Context, pipeline.Set)) func(context.Context, pipeline.Set) {
	return func(ctx context.Context, local pipeline.Set) {
		c.update(func() { c.local = local })
		var running sync.WaitGroup
		defer running.Wait()
		if next != nil {
			running.Go(func() { next(ctx, c) })
		}
		c.run(ctx, next == nil)
	}
}

// run does what is due, whenever something has changed and several times in each lease.
func (c *Cluster) run(ctx context.Context, untilDone bool) {
	lease := c.leases.Lease()
	tick := time.NewTicker(lease / 12)
	defer tick.Stop()
	var moves sync.WaitGroup
	defer moves.Wait()
	// Replicas that start together should see each other before any acquires streams.
	settled := time.Now().Add(lease / 3)
	for {
		c.dropLost()
		if members, fresh := c.leases.Members(); fresh {
			c.place(members)
			c.retryReleased(c.leases.TakeReleased())
			if !time.Now().Before(settled) {
				c.acquireAll(ctx)
			}
			c.releaseUnsure(ctx)
			c.move(ctx, &moves)
		}
		if untilDone && c.allDone(ctx) {
			return
		}
		select {
		case <-ctx.Done():
			c.handOver()
			return
		case <-tick.C:
		case <-c.leases.Changed():
		case <-c.woken:
		}
	}
}

// place decides which streams belong to this replica, where the members have changed.
// Only the goroutine of run calls it.
func (c *Cluster) place(members []lease.Member) {
	if slices.Equal(members, c.members) { // which no other goroutine changes
		return
	}
	c.opts.Log.Info("the members of the group have changed", "members", len(members))
	placement := NewPlacement(members)
	c.update(func() { c.members, c.placement = members, placement })
	// With many streams and members this takes a while, during which the cluster must
	// not be locked.
	owners := map[*stream]string{}
	for _, s := range c.matching(func(*stream) bool { return true }) {
		owners[s] = placement.Owner(s.Key)
	}
	c.update(func() {
		for s, owner := range owners {
			mine := owner == c.leases.Member()
			if mine && (!s.mine || !isMember(members, s.owner)) {
				s.retryAt = time.Now()
			}
			s.mine = mine
		}
	})
}

func isMember(members []lease.Member, name string) bool {
	return slices.ContainsFunc(members, func(m lease.Member) bool { return m.Name == name })
}

// retryReleased makes the streams due whose keys others have released.
func (c *Cluster) retryReleased(keys []string) {
	if len(keys) == 0 {
		return
	}
	released := make(map[string]bool, len(keys))
	for _, key := range keys {
		released[key] = true
	}
	c.update(func() {
		for _, s := range c.streams {
			if released[s.Key] {
				s.retryAt = time.Now()
			}
		}
	})
}
