package cluster

import (
	"context"

	"github.com/cvfeeder/cvfeeder/publish"
)

// Publisher returns a publisher that lets through what belongs to streams whose lease
// is held at that very moment: a process that was paused does not know, before it
// looks at the clock, that others have its streams. What has to stay behind waits until
// its stream is stopped here, and so comes to no end; it is for the new owner.
func (c *Cluster) Publisher(p publish.Publisher) publish.Publisher { return fence{p, c} }

type fence struct {
	publish.Publisher
	cluster *Cluster
}

// Publish implements publish.Publisher.
func (f fence) Publish(ctx context.Context, m publish.Message) error {
	if stream := m.Header[publish.HeaderStream]; len(stream) == 0 || !f.cluster.holds(stream[0]) {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.Publisher.Publish(ctx, m)
}

// Gaps returns what announces the gaps of streams whose lease is held, and no others.
func (c *Cluster) Gaps(announce func(context.Context, publish.Gap) error) func(context.Context, publish.Gap) error {
	return func(ctx context.Context, g publish.Gap) error {
		if !c.holds(g.Stream) {
			return nil
		}
		return announce(ctx, g)
	}
}

func (c *Cluster) holds(stream string) bool {
	c.mu.Lock()
	w := c.wants[stream]
	c.mu.Unlock()
	return w != nil && c.leases.Holds(w.key)
}
