// Package cluster shares streams between replicas: each runs those that it has the
// lease of.
//
//	leases, err := conn.Leases(ctx, natspub.LeaseOptions{Group: "yard"})
//	// handle err
//	c := cluster.New(cluster.Options{Leases: leases, Log: log})
//	for _, s := range streams {
//		c.Add(s) // wanted by the group: every replica is told of all
//	}
//	p := pipeline.New(pipeline.Options{
//		Publisher: c.Publisher(publisher), Cursors: leases, Follow: c.Follow(nil), …
//	}, nil)
//	err = p.Run(ctx)
//	err = leases.Close()
//
// A [Cluster] is a [pipeline.Set] around that of the pipeline: what is added to it is
// wanted, and runs here for as long as the lease is this replica's. Which replica
// tries for which stream is decided by a [Placement]. When replicas come and go, only
// the streams that belong to another one now are moved, a few at a time; those of one
// that is gone are taken over at once, from their cursors.
package cluster

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/publish/natspub"
	"github.com/cvfeeder/cvfeeder/source"
)

// atOnce bounds the streams that are taken or given away at the same time.
const atOnce = 64

// Options are those of a cluster.
type Options struct {
	Leases *natspub.Leases
	// First returns where a stream begins that nobody has had yet. One without a Key
	// begins now, wherever it was before. Default: at its From.
	First func(context.Context, pipeline.Stream) (source.Slot, error)
	// Gained, where set, is told of each stream before it runs here.
	Gained func(pipeline.Stream)
	// Drain is how long what is in flight may take to finish when a stream is given
	// away. Default: 10s.
	Drain time.Duration
	Log   *slog.Logger
}

// A Cluster is this replica's part of a group. Its methods may be called concurrently.
type Cluster struct {
	opts    Options
	leases  *natspub.Leases
	woken   chan struct{}
	trouble rate.Sometimes

	mu        sync.Mutex
	inner     pipeline.Set
	wants     map[string]*want // by the stream's name
	members   []natspub.Member
	placement Placement
	moving    bool
}

// A want is a stream of the group.
type want struct {
	stream pipeline.Stream
	key    string
	now    bool        // begins now where it was not run lately
	end    source.Slot // 0 where there is none

	leaving bool      // is being removed, and not started any more
	mine    bool      // belongs to this replica
	running bool      // here
	done    bool      // by whomever
	owner   string    // who had it when it was last looked at
	try     time.Time // when to look again
}

// New returns a cluster without streams.
func New(o Options) *Cluster {
	if o.Drain <= 0 {
		o.Drain = 10 * time.Second
	}
	if o.First == nil {
		o.First = func(_ context.Context, s pipeline.Stream) (source.Slot, error) { return s.From, nil }
	}
	return &Cluster{
		opts: o, leases: o.Leases, woken: make(chan struct{}, 1), wants: map[string]*want{},
		trouble: rate.Sometimes{First: 1, Interval: 10 * time.Second},
	}
}

// Add implements [pipeline.Set]: the group wants the stream.
func (c *Cluster) Add(s pipeline.Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wants[s.Name] != nil {
		return
	}
	w := &want{stream: s, key: s.Key, now: s.Key == ""}
	if w.now {
		w.key = s.Name
	}
	if s.Poll.To != 0 {
		w.end = s.Grid.Ceil(s.Poll.To)
	}
	w.stream.Key = w.key
	w.mine = c.placement.Owner(w.key) == c.leases.Member()
	c.wants[s.Name] = w
	c.leases.SetStreams(len(c.wants))
	c.wake()
}

// Remove implements [pipeline.Set]: the group does not want the stream any more. Of
// one that runs elsewhere the cursor is not known, and its beginning is returned.
func (c *Cluster) Remove(ctx context.Context, name string) (cursor source.Slot, was bool) {
	c.mu.Lock()
	w, inner := c.wants[name], c.inner
	if w == nil {
		c.mu.Unlock()
		return 0, false
	}
	w.leaving = true
	running := w.running
	c.mu.Unlock()
	cursor = w.stream.From
	if running {
		// It is still wanted while what it has in flight is finished.
		if at, here := inner.Remove(ctx, name); here {
			cursor = at
		}
	}
	c.mu.Lock()
	was = c.wants[name] == w
	if was {
		delete(c.wants, name)
	}
	c.leases.SetStreams(len(c.wants))
	c.mu.Unlock()
	if err := c.leases.Release(context.WithoutCancel(ctx), w.key); err != nil {
		c.complain("a stream could not be released yet", err)
	}
	return cursor, was
}

// Find returns the stream of that name, whoever runs it, false where the group has
// none.
func (c *Cluster) Find(name string) (pipeline.Stream, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.wants[name]; w != nil {
		return w.stream, true
	}
	return pipeline.Stream{}, false
}

// Counts returns how many members the group has, how many streams it wants, and how
// many of these run here.
func (c *Cluster) Counts() (members, wanted, owned int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.wants {
		if w.running {
			owned++
		}
	}
	return len(c.members), len(c.wants), owned
}

// Follow returns what to set as [pipeline.Options.Follow]: it runs this replica's part
// until its context ends, and then hands it over; or until all streams are done, which
// have an end. next, where set, runs beside, with the cluster in place of the
// pipeline's set.
func (c *Cluster) Follow(next func(context.Context, pipeline.Set)) func(context.Context, pipeline.Set) {
	return func(ctx context.Context, inner pipeline.Set) {
		c.mu.Lock()
		c.inner = inner
		c.mu.Unlock()
		var beside sync.WaitGroup
		if next != nil {
			beside.Go(func() { next(ctx, c) })
		}
		c.run(ctx, next == nil)
		beside.Wait()
	}
}

func (c *Cluster) wake() {
	select {
	case c.woken <- struct{}{}:
	default:
	}
}

// run does what is due, whenever something has changed, and several times in a lease.
func (c *Cluster) run(ctx context.Context, ends bool) {
	lease := c.leases.Lease()
	tick := time.NewTicker(lease / 12)
	defer tick.Stop()
	var moves sync.WaitGroup
	defer moves.Wait()
	// Replicas that start together are to see each other before any takes streams.
	settled := time.Now().Add(lease / 3)
	for {
		c.dropLost()
		if members, fresh := c.leases.Members(); fresh {
			c.place(members)
			if !time.Now().Before(settled) {
				c.take(ctx)
			}
			c.tidy(ctx)
			c.move(ctx, &moves)
		}
		if ends && c.finish(ctx) {
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

// dropLost stops the streams whose lease is not held any more. What they have in
// flight is whoever's who has them now.
func (c *Cluster) dropLost() {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	var drops errgroup.Group
	drops.SetLimit(atOnce)
	for _, w := range c.those(func(w *want) bool { return w.running && !w.done && !c.leases.Holds(w.key) }) {
		drops.Go(func() error {
			c.inner.Remove(now, w.stream.Name)
			c.locked(func() { w.running, w.try = false, time.Now() })
			return nil
		})
	}
	_ = drops.Wait() // none fails
}

// place finds out which streams belong to this replica, where the members have
// changed.
func (c *Cluster) place(members []natspub.Member) {
	now := time.Now()
	if slices.Equal(members, c.members) { // which only this goroutine writes
		c.heed(c.leases.TakeReleased(), now)
		return
	}
	c.opts.Log.Info("the group's members", "members", len(members))
	placement := NewPlacement(members)
	c.mu.Lock()
	c.members, c.placement = members, placement
	c.mu.Unlock()
	// Many streams and members take a while, for which nobody is to wait.
	owners := map[*want]string{}
	for _, w := range c.those(func(*want) bool { return true }) {
		owners[w] = placement.Owner(w.key)
	}
	c.mu.Lock()
	for w, owner := range owners {
		mine := owner == c.leases.Member()
		if mine && (!w.mine || !c.member(w.owner)) {
			w.try = now
		}
		w.mine = mine
	}
	c.mu.Unlock()
	c.heed(c.leases.TakeReleased(), now)
}

// heed makes streams be looked at that others have released.
func (c *Cluster) heed(keys []string, now time.Time) {
	if len(keys) == 0 {
		return
	}
	released := make(map[string]bool, len(keys))
	for _, key := range keys {
		released[key] = true
	}
	for _, w := range c.those(func(w *want) bool { return released[w.key] }) {
		c.locked(func() { w.try = now })
	}
}

func (c *Cluster) member(name string) bool {
	return slices.ContainsFunc(c.members, func(m natspub.Member) bool { return m.Name == name })
}

// take tries for the streams that belong here. Of those that have an end it looks at
// all, to know when they are done.
func (c *Cluster) take(ctx context.Context) {
	var tries errgroup.Group
	tries.SetLimit(atOnce)
	now := time.Now()
	// What JetStream is too slow for waits for the next round: others are to be
	// given up or handed over meanwhile.
	end := now.Add(c.leases.Lease() / 3)
	for _, w := range c.those(func(w *want) bool {
		return w.mine && !w.leaving && !w.running && !w.done && !now.Before(w.try)
	}) {
		tries.Go(func() error {
			if ctx.Err() == nil && time.Now().Before(end) {
				c.try(ctx, w)
			}
			return nil
		})
	}
	_ = tries.Wait() // a failure is for the next time
}

// try takes one stream, and runs it.
func (c *Cluster) try(ctx context.Context, w *want) {
	h, err := c.leases.Acquire(ctx, natspub.Claim{
		Key: w.key, Now: w.now, End: w.end,
		First: func(ctx context.Context) (source.Slot, error) {
			first := w.stream
			if w.now {
				first.Key, first.From = "", max(first.From, source.SlotAt(time.Now()))
			}
			return c.opts.First(ctx, first)
		},
	})
	lease := c.leases.Lease()
	wait := lease // until its owner says that it is released, or is no member any more
	switch {
	case err != nil && ctx.Err() == nil:
		c.complain("a stream could not be taken, trying again", err, "stream", w.stream.Name)
	case h.Held:
		if c.opts.Gained != nil {
			c.opts.Gained(w.stream)
		}
		c.start(ctx, w)
		return
	case h.Owner == "":
		wait = lease / 6
	}
	c.locked(func() {
		w.owner, w.try = h.Owner, time.Now().Add(wait*3/4+rand.N(wait/2))
		w.done = err == nil && w.end != 0 && h.Cursor >= w.end
	})
}

// start runs a stream that was acquired, unless it is not wanted any more.
func (c *Cluster) start(ctx context.Context, w *want) {
	c.mu.Lock()
	wanted := c.wants[w.stream.Name] == w && !w.leaving
	if wanted {
		w.running, w.owner = true, c.leases.Member()
		c.inner.Add(w.stream)
	}
	c.mu.Unlock()
	if !wanted {
		if err := c.leases.Release(context.WithoutCancel(ctx), w.key); err != nil {
			c.complain("a stream could not be released yet", err)
		}
	}
}

// tidy releases the streams that the bucket may still name this replica for, though
// they belong to others.
func (c *Cluster) tidy(ctx context.Context) {
	unsure := c.leases.Unsure()
	if len(unsure) == 0 {
		return
	}
	keep := map[string]bool{} // to be acquired again, or on their way
	for _, w := range c.those(func(w *want) bool { return w.mine && !w.done || w.running }) {
		keep[w.key] = true
	}
	unsure = slices.DeleteFunc(unsure, func(key string) bool { return keep[key] })
	if err := c.leases.Release(ctx, unsure...); err != nil && ctx.Err() == nil {
		c.complain("streams could not be released, trying again", err)
	}
}

// move gives some of the streams away that belong to others, unless the ones before
// are still on their way.
func (c *Cluster) move(ctx context.Context, moves *sync.WaitGroup) {
	running := c.those(func(w *want) bool { return w.running && !w.done })
	leaving := slices.DeleteFunc(slices.Clone(running), func(w *want) bool { return w.mine })
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moving || len(leaving) == 0 || ctx.Err() != nil {
		return
	}
	c.moving = true
	leaving = leaving[:min(len(leaving), Few(len(running)))]
	moves.Go(func() {
		c.giveAway(leaving)
		c.mu.Lock()
		c.moving = false
		c.mu.Unlock()
	})
}

// giveAway finishes what streams have in flight, and releases them as they come to
// their ends.
func (c *Cluster) giveAway(leaving []*want) {
	ctx, cancel := context.WithTimeout(context.Background(), c.opts.Drain)
	defer cancel()
	var all errgroup.Group
	all.SetLimit(atOnce)
	for _, w := range leaving {
		all.Go(func() error {
			c.inner.Remove(ctx, w.stream.Name)
			wanted := false
			c.locked(func() {
				w.running, w.try = false, time.Now().Add(c.leases.Lease())
				wanted = c.wants[w.stream.Name] == w
			})
			if !wanted {
				return nil // the lease is that of another in its place
			}
			return c.leases.Release(context.WithoutCancel(ctx), w.key)
		})
	}
	if err := all.Wait(); err != nil {
		c.complain("streams could not be released yet", err)
	}
}

// handOver gives all streams away, to those that they belong to without this replica.
func (c *Cluster) handOver() {
	c.leases.SetWeight(0)
	c.giveAway(c.those(func(w *want) bool { return w.running && !w.done }))
}

// finish releases the streams whose end is reached, and tells whether that is so for
// all of the group.
func (c *Cluster) finish(ctx context.Context) bool {
	var ended []string
	for _, w := range c.those(func(w *want) bool { return w.end != 0 && w.running && !w.done }) {
		if cursor, known := c.leases.Load(w.key); known && cursor >= w.end {
			ended = append(ended, w.key)
			c.locked(func() { w.done = true })
		}
	}
	if len(ended) > 0 {
		if err := c.leases.Release(ctx, ended...); err != nil && ctx.Err() == nil {
			c.complain("streams could not be released yet", err)
		}
	}
	c.look(ctx)
	return len(c.those(func(w *want) bool { return !w.done })) == 0 && len(c.leases.Unsure()) == 0
}

// look finds out of streams with an end, which run elsewhere, whether they are done.
func (c *Cluster) look(ctx context.Context) {
	now := time.Now()
	var looks errgroup.Group
	looks.SetLimit(atOnce)
	for _, w := range c.those(func(w *want) bool {
		return w.end != 0 && !w.mine && !w.running && !w.done && !now.Before(w.try)
	}) {
		looks.Go(func() error {
			cursor, err := c.leases.Cursor(ctx, w.key)
			c.locked(func() {
				w.done = err == nil && cursor >= w.end
				w.try = now.Add(c.leases.Lease())
			})
			return nil
		})
	}
	_ = looks.Wait() // a failure is for the next time
}

// those returns the streams of which is is true.
func (c *Cluster) those(is func(*want) bool) []*want {
	c.mu.Lock()
	defer c.mu.Unlock()
	var some []*want
	for _, w := range c.wants {
		if is(w) {
			some = append(some, w)
		}
	}
	return some
}

func (c *Cluster) locked(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// complain logs what goes wrong, every ten seconds at most.
func (c *Cluster) complain(what string, err error, args ...any) {
	c.trouble.Do(func() { c.opts.Log.Warn(what, append(args, "err", err)...) })
}
