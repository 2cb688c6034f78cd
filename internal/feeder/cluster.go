package feeder

import (
	"context"
	"runtime"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/cluster"
	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
	"github.com/cvfeeder/cvfeeder/source"
)

// A group shares the streams with other replicas. A nil group has all streams to itself.
type group struct {
	*cluster.Cluster
	leases *lease.Leases
}

// join makes the pipeline run those streams that this replica has the lease of. It
// returns the leases, which also hold the cursors.
func (f *Feeder) join(ctx context.Context, conn *dial.Conn, b *builder, opts *pipeline.Options) (cursorStore, error) {
	leases := lease.New(conn, lease.Options{
		Group: f.cfg.Cluster.Group, Lease: f.cfg.Cluster.Lease,
		Replicas: f.cfg.Delivery.Stream.Replicas, Weight: cluster.Capacity(runtime.GOMAXPROCS(0)), Logger: f.log,
	})
	if err := leases.Join(ctx); err != nil {
		return nil, err
	}
	o := cluster.Options{Leases: leases, Log: f.log}
	if stored, durable := opts.Publisher.(*deliver.Stored); durable && f.cfg.Delivery.Mode == config.ModeDurable {
		o.First = func(ctx context.Context, s pipeline.Stream) (source.Slot, error) {
			return firstOf(ctx, conn, stored, s)
		}
		o.Gained = func(s pipeline.Stream) {
			for _, subject := range s.Subjects {
				stored.Forget(subject)
			}
		}
	}
	b.group = &group{cluster.New(o), leases}
	opts.Publisher, opts.Follow, opts.Find = b.group.Publisher(opts.Publisher), b.group.Follow(opts.Follow), b.group.Find
	if opts.Gaps != nil {
		opts.Gaps = b.group.Gaps(opts.Gaps)
	}
	f.log.Info("sharing the streams", "group", f.cfg.Cluster.Group, "member", leases.Member(), "lease", leases.Lease())
	return newPacedCursors(leases, func() time.Duration {
		_, streams := b.group.counts()
		return lease.CursorPace(leases.Lease(), streams)
	}, leases.Close), nil
}

// firstOf returns where to begin a stream that no replica has run yet: where a cvfeeder
// without a group left off, or else at the stream's own beginning.
func firstOf(ctx context.Context, conn *dial.Conn, stored *deliver.Stored, s pipeline.Stream) (source.Slot, error) {
	if s.Key == "" {
		return s.From, nil
	}
	cursor, saved, err := deliver.SavedCursor(ctx, conn, s.Key)
	switch {
	case err != nil:
		return 0, err
	case saved:
		return cursor, nil
	case s.Range:
		return s.From, comesAfter(ctx, stored, s)
	}
	return s.From, nil
}

// want hands the streams to the group, where there is one. It returns the streams that
// run here from the beginning.
func (g *group) want(streams []pipeline.Stream) []pipeline.Stream {
	if g == nil {
		return streams
	}
	for _, s := range streams {
		g.Add(s)
	}
	return nil
}

// weighEvery is how often this replica's share of the streams is adjusted.
const weighEvery = 30 * time.Second

// weigh adjusts this replica's share of the streams to what it can decode, until ctx
// ends.
func (g *group) weigh(ctx context.Context, p *pipeline.Pipeline) {
	if g == nil {
		return
	}
	t := time.NewTicker(weighEvery)
	defer t.Stop()
	scale := cluster.NewScale(runtime.GOMAXPROCS(0))
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			busy, frames := p.Worked()
			g.leases.SetWeight(scale.Weigh(busy, frames))
		}
	}
}

// counts returns how many replicas there are, and how many streams they share.
func (g *group) counts() (members, streams int) {
	if g == nil {
		return 0, 0 // not yet
	}
	members, streams, _ = g.Counts()
	return members, streams
}
