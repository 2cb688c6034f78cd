// Package pipeline composes the stages: for each stream one loop of next frames,
// transform, publish, commit. Frames are transformed in parallel on a pool that
// all streams share, and published in order.
//
//	p := pipeline.New(pipeline.Options{…}, streams)
//	err := p.Run(ctx)
//
// Beside them, [Pipeline.Frame] makes a single tensor of any slot.
//
// The bytes between fetching and delivery are bounded by a budget: a stream that
// finds it used up stops asking. When ctx ends nothing more is asked for, and what
// is in flight is finished within [Options.Drain].
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/cvfeeder/cvfeeder/internal/tracing"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// A Worker turns frames into tensors. It is used by one goroutine.
type Worker interface {
	// Decode decodes a frame, for Tensor to make the outputs of it.
	Decode(f source.Frame, outs []*transform.Output) error
	// Tensor makes an output's tensor of the decoded frame.
	Tensor(o *transform.Output) (*transform.Tensor, error)
	Close()
}

// Cursors keep, from one run to the next, up to where a stream was delivered.
type Cursors interface {
	// Load returns the cursor that was set last for a key, false where there is
	// none.
	Load(key string) (source.Slot, bool)
	Set(key string, cursor source.Slot)
	// Flush makes what was set survive the process.
	Flush() error
}

// Options are what the streams share.
type Options struct {
	// Workers is the number of workers that NewWorker is asked for.
	Workers   int
	NewWorker func() Worker
	Publisher publish.Publisher
	// Interested tells whether anybody listens to a subject; tensors that nobody
	// listens to are not made, and count as published. nil takes it that somebody
	// does.
	Interested func(subject string) bool
	// Gaps announces a gap; nil announces none.
	Gaps func(context.Context, publish.Gap) error
	// Inline publishes gaps among the tensors, in order, instead of announcing them.
	Inline bool
	// Inflight bounds the bytes of frames and tensors between fetching and delivery.
	Inflight int64
	// Drain is how long what is in flight may take to finish at the end. Default:
	// [DefaultDrain].
	Drain time.Duration
	// Cursors are where streams go on; nil keeps none.
	Cursors Cursors
	// Confirm returns nil when the broker has everything that the Publisher was
	// given before; cursors are saved only then. nil takes it as given.
	Confirm func(context.Context) error
	// Follow, where set, runs beside the streams, and adds and removes some. The
	// pipeline goes on until it returns, which it does when its context ends.
	Follow func(context.Context, Set)
	// Find, where set, returns streams that do not run here, of which frames can be
	// asked for all the same.
	Find    func(name string) (Stream, bool)
	Metrics *metrics.Metrics
	// Tracer traces frames; nil traces none.
	Tracer *tracing.Tracer
	Log    *slog.Logger
}

// A Set is the running streams.
type Set interface {
	// Add starts a stream, unless one of this name is running.
	Add(Stream)
	// Remove stops a stream, finishes what it has in flight while ctx lasts, for
	// [Options.Drain] at most, saves its cursor, and forgets it. It returns the
	// cursor, from which another stream in its place goes on; false where no stream
	// of this name is running.
	Remove(ctx context.Context, name string) (cursor source.Slot, was bool)
}

// A Pipeline runs streams.
type Pipeline struct {
	opts     Options
	jobs     chan *job
	budget   *semaphore.Weighted
	inflight atomic.Int64
	refused  atomic.Int64 // streams whose first check was refused
	initial  int          // streams at the start
	load     load

	mu      sync.Mutex
	streams map[string]*stream

	asked requests
}

// DefaultDrain is the default of [Options.Drain].
const DefaultDrain = 10 * time.Second

// New returns a pipeline of the given streams, whose time begins now.
func New(opts Options, streams []Stream) *Pipeline {
	if opts.Drain <= 0 {
		opts.Drain = DefaultDrain
	}
	opts.Inflight = max(opts.Inflight, 1) // of 0 bytes, frames would take nothing
	p := &Pipeline{
		opts: opts, jobs: make(chan *job), budget: semaphore.NewWeighted(opts.Inflight),
		initial: len(streams), streams: map[string]*stream{},
	}
	for _, s := range streams {
		p.streams[s.Name] = p.newStream(s)
	}
	return p
}

// Run runs all streams until ctx ends or all of them are done. It returns an error
// that wraps [source.ErrRefused] where every stream's credentials were refused at
// the start, and the publisher's where going on makes no sense.
func (p *Pipeline) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// What is in flight when ctx ends has some more time.
	drain, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(p.opts.Drain, cancel) })()

	var workers, ticks sync.WaitGroup
	for range p.opts.Workers {
		workers.Go(func() { p.work(p.opts.NewWorker()) })
	}
	ticking, stopTicks := context.WithCancel(drain)
	ticks.Go(func() { p.tick(ticking) })
	p.asked.begin()
	r := &run{Pipeline: p, ctx: ctx, drain: drain, stop: stop}
	for _, s := range p.sorted() {
		r.start(s)
	}
	if p.opts.Follow != nil {
		r.loops.Go(func() { p.opts.Follow(ctx, r) })
	}
	r.loops.Wait()
	p.asked.end()
	close(p.jobs)
	workers.Wait()
	stopTicks()
	ticks.Wait()
	p.report(drain, time.Now(), new(unsaved))
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// loop is a stream's: next frames, transform, publish, commit.
func (p *Pipeline) loop(ctx, drain context.Context, s *stream) error {
	if err := p.check(ctx, s); err != nil || ctx.Err() != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var fatal error
	deliver := func(j *job) {
		if err := p.deliver(drain, s, j, fatal == nil); err != nil {
			fatal = err
			stop()
		}
	}
	s.line.begin(deliver)
	var last turn
	for f, err := range s.poller.Frames(ctx) {
		if err != nil {
			s.trouble(err)
			continue
		}
		j := newJob(f, s)
		j.trace = s.trace.Frame(f)
		begin := time.Now()
		if last.missed(j, begin) {
			j.skip()
		} else if p.admit(ctx, j) {
			last = turn{waited: time.Since(begin), came: time.Now()}
		} else {
			j.trace.End(source.Pending, nil)
			break
		}
		s.line.add(j)
	}
	s.line.end()
	deliver(nil)
	return fatal
}

// check waits until the stream can be read.
func (p *Pipeline) check(ctx context.Context, s *stream) error {
	if s.Check == nil {
		return nil
	}
	wait := time.Second
	for first := true; ctx.Err() == nil; first, wait = false, min(2*wait, checkAgain) {
		err := s.Check(ctx)
		if err == nil {
			s.well()
			break
		}
		if first && errors.Is(err, source.ErrRefused) && p.refused.Add(1) == int64(p.initial) {
			return err
		}
		if ctx.Err() == nil {
			s.trouble(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return nil
}

// admit passes a job to the workers once the budget has room for it. It returns
// false when ctx ends first.
func (p *Pipeline) admit(ctx context.Context, j *job) bool {
	// What is larger than the whole budget goes alone.
	j.cost = min(j.bytes(), p.opts.Inflight)
	if p.budget.Acquire(ctx, j.cost) != nil {
		return false
	}
	p.inflight.Add(j.cost)
	select {
	case p.jobs <- j:
		return true
	case <-ctx.Done():
		p.release(j)
		return false
	}
}

func (p *Pipeline) release(j *job) {
	for _, t := range j.tensors {
		if t != nil {
			t.Release()
		}
	}
	p.inflight.Add(-j.cost)
	p.budget.Release(j.cost)
}

// sorted returns the streams by name, none where there is no pipeline yet.
func (p *Pipeline) sorted() []*stream {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(maps.Values(p.streams), func(a, b *stream) int { return strings.Compare(a.Name, b.Name) })
}

// Streams returns the state of every stream, by name.
func (p *Pipeline) Streams() []metrics.Stream {
	streams := p.sorted()
	all := make([]metrics.Stream, len(streams))
	for i, s := range streams {
		all[i] = s.state()
	}
	return all
}

// Names returns the names of the streams that there are now, in no order.
func (p *Pipeline) Names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.streams))
}

// Stream returns the stream of that name, as it was given, false where there is none.
func (p *Pipeline) Stream(name string) (Stream, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.streams[name]
	if s == nil {
		return Stream{}, false
	}
	return s.Stream, true
}

// InflightBytes returns the bytes of frames and tensors between fetching and
// delivery.
func (p *Pipeline) InflightBytes() int64 {
	if p == nil {
		return 0
	}
	n := p.inflight.Load()
	for _, s := range p.sorted() {
		n += s.poller.State().HeldBytes
	}
	return n
}

// NotReady returns why not all streams are being read, a line for each that is
// not.
func (p *Pipeline) NotReady() []string {
	var why []string
	now := time.Now()
	for _, s := range p.sorted() {
		if reason := s.notReady(now); reason != "" {
			why = append(why, fmt.Sprintf("stream %s: %s", s.Name, reason))
		}
	}
	return why
}
