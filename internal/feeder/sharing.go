package feeder

import (
	"context"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/cluster"
	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
	"github.com/cvfeeder/cvfeeder/source"
)

// A followFunc adds streams to a pipeline and removes some, until ctx ends.
type followFunc = func(context.Context, pipeline.Set)

// sharing decides which of the config's streams run in this process.
type sharing interface {
	// begin returns those of the config's streams that run here from the start.
	begin([]pipeline.Stream) []pipeline.Stream
	// follow returns what the pipeline is to follow in place of next, which may be nil.
	follow(next followFunc) followFunc
	// Find returns a stream that may run elsewhere.
	Find(name string) (pipeline.Stream, bool)
	// counts returns how many replicas share how many streams.
	counts() (members, streams int)
	// part returns what this replica should run, nil where there is no group.
	part() *health.Group
	// weigh adjusts this replica's part of the streams, until ctx ends.
	weigh(ctx context.Context, p *pipeline.Pipeline, workers int)
}

// alone is the sharing of a process that has all streams to itself.
type alone struct{}

func (alone) begin(streams []pipeline.Stream) []pipeline.Stream { return streams }
func (alone) follow(next followFunc) followFunc                 { return next }
func (alone) Find(string) (pipeline.Stream, bool)               { return pipeline.Stream{}, false }
func (alone) counts() (members, streams int)                    { return 1, 0 }
func (alone) part() *health.Group                               { return nil }
func (alone) weigh(context.Context, *pipeline.Pipeline, int)    {}

// A group is the sharing of a replica that runs the streams it has the leases of.
type group struct {
	*cluster.Cluster
	leases *lease.Leases
}

// begin leaves the streams to the group, which runs them once this replica has their
// leases.
func (g *group) begin(streams []pipeline.Stream) []pipeline.Stream {
	for _, s := range streams {
		g.Add(s)
	}
	return nil
}

func (g *group) follow(next followFunc) followFunc { return g.Follow(next) }

func (g *group) counts() (members, streams int) {
	members, streams, _ = g.Counts()
	return members, streams
}

func (g *group) part() *health.Group {
	p := g.Part()
	of := &health.Group{Streams: p.Streams, Mine: p.Mine, Missing: p.Missing, Known: p.Known}
	if p.Problem != nil {
		of.Problem = p.Problem.Error()
	}
	return of
}

// saveEvery returns how often the cursor of each stream is saved: the more streams the
// group has, the more seldom.
func (g *group) saveEvery() time.Duration {
	_, streams := g.counts()
	return lease.CursorPace(g.leases.Lease(), streams)
}

// weighEvery is how often this replica's part of the streams is worked out anew.
const weighEvery = 30 * time.Second

// weigh gives this replica the part of the streams that it can decode, until ctx ends.
func (g *group) weigh(ctx context.Context, p *pipeline.Pipeline, workers int) {
	t := time.NewTicker(weighEvery)
	defer t.Stop()
	scale := cluster.NewScale(workers)
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

// firstOf returns where a stream begins that no replica has had yet: where a cvfeeder
// without a group has stopped, or at the stream's own beginning.
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
	case s.Backfill:
		return rangeStart(ctx, conn, stored, s, lease.Bucket)
	}
	return s.From, nil
}
