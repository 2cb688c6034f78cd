// Package cluster shares streams between replicas: each runs the streams that it holds
// the lease of.
//
//	leases := lease.New(conn, lease.Options{Group: "yard"})
//	err := leases.Join(ctx)
//	// handle err
//	c := cluster.New(cluster.Options{Leases: leases, Log: log})
//	for _, s := range streams {
//		c.Add(s) // every replica adds all streams of the group
//	}
//	p := pipeline.New(pipeline.Options{
//		Delivery: c.Delivery(delivery), Cursors: leases, Find: c.Find, …
//	})
//	err = p.Run(ctx, nil, c.Follow(nil))
//	err = leases.Close()
//
// A [Cluster] is a [pipeline.Set] around that of the pipeline: a stream that is added to
// it runs here while this replica holds its lease. A [Placement] decides which replica
// each stream belongs to. When replicas come and go, only the streams that now belong to
// another one are moved, a few at a time. The streams of a replica that has gone are
// taken over at once, from their cursors.
package cluster

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
	"github.com/cvfeeder/cvfeeder/source"
)

const (
	// atOnce bounds the streams that are acquired or released at the same time.
	atOnce = 64
	// logEvery is the least time between two lines about failures, which are retried.
	logEvery = time.Minute
	// problemFor is how long a failure is told as the reason that streams do not run.
	problemFor = time.Minute
)

// Options configure a [Cluster].
type Options struct {
	Leases *lease.Leases
	// First returns the first slot of a stream that no replica has run yet. For a
	// stream without a Key, which begins now, it is also asked when no replica has run
	// the stream lately. Default: the stream's From.
	First func(context.Context, pipeline.Stream) (source.Slot, error)
	// Gained, where set, is called with each stream before it runs here.
	Gained func(pipeline.Stream)
	// Now returns the present by the clock of the slots. Default: time.Now.
	Now func() time.Time
	Log *slog.Logger
}

// A Cluster is this replica's part of a group. Its methods may be called concurrently.
type Cluster struct {
	opts    Options
	leases  *lease.Leases
	woken   chan struct{} // holds a value when the loop has something to do
	failure pacing.Outage // of calls to the leases

	mu        sync.Mutex // may be held while those of the leases and of local are taken
	local     pipeline.Set
	streams   map[string]*stream // all of the group's, by name
	members   []lease.Member
	placement Placement
	moving    bool // streams are being given away
	problem   error
	failedAt  time.Time
}

// New returns a cluster without streams.
func New(o Options) *Cluster {
	if o.First == nil {
		o.First = func(_ context.Context, s pipeline.Stream) (source.Slot, error) { return s.From, nil }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Cluster{
		opts: o, leases: o.Leases, woken: make(chan struct{}, 1), streams: map[string]*stream{},
		failure: pacing.Outage{Every: logEvery},
	}
}

// Add implements [pipeline.Set]: the stream is one of the group's from now on.
func (c *Cluster) Add(s pipeline.Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[s.Name] != nil {
		return
	}
	added := newStream(s)
	added.mine = c.placement.Owner(added.Key) == c.leases.Member()
	c.streams[s.Name] = added
	select {
	case c.woken <- struct{}{}:
	default:
	}
}

// Remove implements [pipeline.Set]: the stream is no longer one of the group's. The
// cursor of a stream that another replica runs is not known: its From is returned.
func (c *Cluster) Remove(ctx context.Context, name string) (cursor source.Slot, was bool) {
	c.mu.Lock()
	s, local := c.streams[name], c.local
	if s == nil {
		c.mu.Unlock()
		return 0, false
	}
	s.removing = true
	running := s.running
	c.mu.Unlock()
	cursor = s.From
	if running {
		// It stays one of the group's while it finishes what it has in flight.
		if at, here := local.Remove(ctx, name); here {
			cursor = at
		}
	}
	c.mu.Lock()
	was = c.streams[name] == s
	if was {
		delete(c.streams, name)
	}
	c.mu.Unlock()
	c.release(context.WithoutCancel(ctx), s.Key)
	return cursor, was
}

// Find returns the stream of that name, whichever replica runs it, and false where the
// group has none.
func (c *Cluster) Find(name string) (pipeline.Stream, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[name]; s != nil {
		return s.Stream, true
	}
	return pipeline.Stream{}, false
}

// Counts returns how many members the group has, how many streams it has that have not
// ended, and how many of these run here.
func (c *Cluster) Counts() (members, streams, running int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.streams {
		if !s.done {
			streams++
		}
		if s.running {
			running++
		}
	}
	return len(c.members), streams, running
}

// A Part is a replica's part of the group's streams.
type Part struct {
	// Streams are all of the group's that have not ended. Mine of them belong to this
	// replica, and Missing of these do not run.
	Streams, Mine, Missing int
	// Known says that the bucket tells the members of the group, and this replica is one.
	Known bool
	// Problem is why a call to the leases has failed within the last minute, nil if none has.
	Problem error
}

// Part returns this replica's part of the group's streams.
func (c *Cluster) Part() Part {
	members, fresh := c.leases.Members()
	var p Part
	p.Known = fresh && isMember(members, c.leases.Member())
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.failedAt) < problemFor {
		p.Problem = c.problem
	}
	for _, s := range c.streams {
		if s.done {
			continue
		}
		p.Streams++
		if s.mine && !s.removing {
			p.Mine++
			if !s.running {
				p.Missing++
			}
		}
	}
	return p
}

// logFailure logs a failed call to the leases, unless another was logged lately.
func (c *Cluster) logFailure(what string, err error, args ...any) {
	c.mu.Lock()
	c.problem, c.failedAt = err, time.Now()
	c.mu.Unlock()
	if c.failure.Failed() {
		c.opts.Log.Warn(what, append(args, "err", err)...)
	}
}
