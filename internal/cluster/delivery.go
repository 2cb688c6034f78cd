package cluster

import (
	"context"

	"github.com/cvfeeder/cvfeeder/publish"
)

// Delivery returns a delivery that lets through what belongs to streams whose lease is
// held at that very moment: a process that was paused does not know, until it looks at
// the clock, that others have its streams. Everything else is left to the replica that
// holds the lease now: Publish and Gap wait until their context ends, which it does when
// the stream is stopped here.
func (c *Cluster) Delivery(d publish.Delivery) publish.Delivery { return leasedDelivery{d, c} }

type leasedDelivery struct {
	publish.Delivery
	cluster *Cluster
}

// Publish implements [publish.Delivery].
func (d leasedDelivery) Publish(ctx context.Context, m publish.Message) error {
	if err := d.cluster.checkLease(ctx, streamOf(m)); err != nil {
		return err
	}
	return d.Delivery.Publish(ctx, m)
}

// Gap implements [publish.Delivery].
func (d leasedDelivery) Gap(ctx context.Context, g publish.Gap, routes []publish.Route) error {
	if err := d.cluster.checkLease(ctx, g.Stream); err != nil {
		return err
	}
	return d.Delivery.Gap(ctx, g, routes)
}

// streamOf returns the stream of a message, "" where it names none.
func streamOf(m publish.Message) string {
	if stream := m.Header[publish.HeaderStream]; len(stream) > 0 {
		return stream[0]
	}
	return ""
}

// checkLease returns nil at once where the stream's lease is held, and otherwise ctx's
// error when that ends.
func (c *Cluster) checkLease(ctx context.Context, stream string) error {
	if c.holds(stream) {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (c *Cluster) holds(stream string) bool {
	c.mu.Lock()
	s := c.streams[stream]
	c.mu.Unlock()
	return s != nil && c.leases.Holds(s.Key)
}
