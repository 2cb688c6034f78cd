// Package pipeline composes the stages: for each stream one loop of next frame,
// transform, publish, save the cursor. Frames are transformed in parallel on a pool of
// workers that all streams share, and published in order.
//
//	p := pipeline.New(pipeline.Options{…})
//	err := p.Run(ctx, streams, nil)
//
// It knows three contracts and none of their implementations: a [source.Feed] yields
// the frames of a stream, a [publish.Delivery] takes its messages, and
// [source.Cursors] keep how far it was delivered. Observers are told of everything.
//
// Besides what the streams publish, [Pipeline.Frame] makes a single tensor of any slot,
// and [Pipeline.View] shows the next frame of a stream.
//
// The bytes between feeds and delivery, the workers' included, are bounded by a budget: a
// stream that finds it used up stops reading. The workers' time is shared out among the
// streams alike, whatever a single frame takes. When ctx ends nothing more is read, and what
// is in flight is finished within [Options.Drain].
//
// The package is larger than most packages because the whole way of a frame is in it,
// and who may touch a frame at which point of that way is nobody else's business.
package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// DefaultDrain is that of [Options].
const DefaultDrain = 10 * time.Second

// lastSaveTime bounds the saving of the last cursors, which may come after the drain.
const lastSaveTime = 2 * time.Second

// Options are what the streams share.
type Options struct {
	// Workers is how many workers there are; NewWorker makes each.
	Workers   int
	NewWorker func() Worker
	Delivery  publish.Delivery
	// Measure tells what a frame will take. By default only what is known without its
	// picture counts against Inflight.
	Measure Measure
	// Inflight bounds the bytes of frames and tensors between feeds and delivery, and of
	// what the workers take. A frame that takes more than that has to be the only one.
	Inflight int64
	// Buffers are where clips get their memory. By default the pipeline has its own.
	Buffers *transform.Buffers
	// Drain is how long what is in flight may take to finish at the end. Default:
	// [DefaultDrain].
	Drain time.Duration
	// Cursors are where streams resume. Default: none are kept.
	Cursors source.Cursors
	// SaveEvery returns how often the cursor of each stream is saved. Default: every
	// second.
	SaveEvery func() time.Duration
	// InOrder says that the delivery takes only what is newer than all before it: frames
	// that turned up late are then logged, and not delivered.
	InOrder bool
	// Find returns streams that do not run here, but that frames can be requested of.
	// Default: there are none.
	Find func(name string) (Stream, bool)
	// Observers are told of every stream and frame.
	Observers []Observer
	// Now returns the present by the clock of the slots. Default: time.Now.
	Now func() time.Time
	Log *slog.Logger
}

// A Pipeline runs streams. Its methods are safe for concurrent use, before, while and
// after it runs.
type Pipeline struct {
	opts     Options
	turns    *turns
	load     load
	requests requests

	initial int          // how many streams there are at the start
	refused atomic.Int64 // how many of those had their credentials refused at first

	mu      sync.Mutex
	streams map[string]*stream
	outings map[*Outing]struct{}
	running *run // nil before Run
}

// New returns a pipeline without streams.
func New(opts Options) *Pipeline {
	if opts.Drain <= 0 {
		opts.Drain = DefaultDrain
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Buffers == nil {
		opts.Buffers = new(transform.Buffers)
	}
	return &Pipeline{
		opts: opts, turns: newTurns(opts.Inflight), streams: map[string]*stream{}, outings: map[*Outing]struct{}{},
	}
}

// Run runs streams until ctx ends or all of them are done. It is called once. follow,
// unless nil, runs beside them, adds and removes streams, and keeps the pipeline
// running until it returns.
//
// The error wraps [source.ErrRefused] where the credentials of every stream were
// refused at the start, and is the delivery's where continuing makes no sense.
func (p *Pipeline) Run(ctx context.Context, streams []Stream, follow func(context.Context, Set)) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// What is in flight when ctx ends has some more time.
	drain, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(p.opts.Drain, cancel) })()

	var workers, reports sync.WaitGroup
	for range p.opts.Workers {
		workers.Go(func() { p.work(p.opts.NewWorker()) })
	}
	reporting, stopReports := context.WithCancel(drain)
	defer stopReports()
	reports.Go(func() { p.reports(reporting) })
	r := &run{Pipeline: p, ctx: ctx, drain: drain, stop: stop}
	p.mu.Lock()
	p.running = r
	p.mu.Unlock()
	p.requests.open()
	r.startAll(streams)
	if follow != nil {
		r.loops.Go(func() { follow(ctx, r) })
	}
	r.loops.Wait()
	p.requests.close()
	p.turns.end()
	workers.Wait()
	stopReports()
	reports.Wait()
	for _, s := range p.sorted() {
		s.logLost(true)
	}
	last, cancelLast := context.WithTimeout(context.WithoutCancel(ctx), lastSaveTime)
	defer cancelLast()
	p.save(last, p.sorted(), &pacing.Outage{})
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// startAll starts the streams that there are at the start.
func (r *run) startAll(streams []Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.initial = len(streams)
	for _, s := range streams {
		r.start(s, true)
	}
}

// refusedAll tells whether err, with which reading a stream began, is the refusal of
// the last of all streams' credentials.
func (p *Pipeline) refusedAll(err error) bool {
	return errors.Is(err, source.ErrRefused) && p.refused.Add(1) == int64(p.initial)
}

// sorted returns the streams by name.
func (p *Pipeline) sorted() []*stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(maps.Values(p.streams), func(a, b *stream) int { return strings.Compare(a.Name, b.Name) })
}

// Streams returns the state of every stream, by name.
func (p *Pipeline) Streams() []State {
	streams := p.sorted()
	all := make([]State, len(streams))
	for i, s := range streams {
		all[i] = s.state()
	}
	return all
}

// Count returns how many streams there are now.
func (p *Pipeline) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.streams)
}

// Names returns the names of the streams that there are now, in no order.
func (p *Pipeline) Names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.streams))
}

// InflightBytes returns the bytes of frames and tensors between feeds and delivery.
func (p *Pipeline) InflightBytes() int64 {
	n := p.turns.used.Load() + p.turns.kept.Load()
	for _, s := range p.sorted() {
		n += s.feed.State().HeldBytes
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for o := range p.outings {
		n += o.stream.feed.State().HeldBytes
	}
	return n
}
