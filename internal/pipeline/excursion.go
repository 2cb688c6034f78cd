package pipeline

import (
	"context"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
)

// An Excursion reads a range of a stream beside the streams of the pipeline: with the same
// workers and the same budget, but with a ledger of its own. Bursts, replays and ranges on
// request are excursions.
type Excursion struct {
	// Stream is what to read, from From up to To, which is not 0. Several excursions, and a stream of the
	// pipeline, may have the same name. Where its Key has a cursor, it resumes there.
	Stream
	// Delivery takes the messages. Default: the pipeline's.
	Delivery publish.Delivery
	// Cursors keep how far it was delivered. Default: they are not kept.
	Cursors source.Cursors
	// Background says that its frames come after those of the streams and of the excursions
	// that are not in the background, and within half of the budget of bytes.
	Background bool
	// Mark, if set, returns a message with more headers in place of m.
	Mark func(m publish.Message) publish.Message
	// Observers are told of it in place of the pipeline's.
	Observers []Observer
}

// An Outing is an excursion under way.
type Outing struct {
	pipeline *Pipeline
	stream   *stream
}

// Begin opens an excursion. Nothing is read before [Outing.Run].
func (p *Pipeline) Begin(x Excursion) *Outing {
	if x.Delivery == nil {
		x.Delivery = p.opts.Delivery
	}
	s := p.openStream(x.Stream, x.Cursors, x.Observers)
	s.delivery, s.background, s.mark, s.outing = x.Delivery, x.Background, x.Mark, true
	return &Outing{p, s}
}

// Run reads the excursion until all of its slots have ended, or ctx has. It is called once.
//
// The error is nil only if all slots have ended. It wraps [ErrNotRunning] if the pipeline has not
// begun or is ending; it is ctx's cause if that ended first, and otherwise the delivery's.
// Requests that fail are tried again until ctx ends: [Outing.State] tells why they do.
func (o *Outing) Run(ctx context.Context) error {
	p, s := o.pipeline, o.stream
	ctx, leave, err := p.requests.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	running := p.enter(o)
	defer p.leave(o)
	defer context.AfterFunc(running.ctx, func() { stop(ErrNotRunning) })()
	drain, giveUp := context.WithCancel(running.drain)
	defer giveUp()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(p.opts.Drain, giveUp) })()
	var saving sync.WaitGroup
	reading, done := context.WithCancel(ctx)
	saving.Go(func() { o.saveEvery(reading) })
	err = p.loop(ctx, drain, s)
	done()
	saving.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSaveTime)
	defer cancel()
	if saved := p.saveCursors(last, []*stream{s}); err == nil {
		err = saved
	}
	s.seen.removed()
	if ended := context.Cause(ctx); ended != nil && !o.ended() {
		return ended
	}
	return err
}

// ended tells whether all slots have ended.
func (o *Outing) ended() bool {
	st := o.stream.ledger.Stats()
	return st.Told >= o.stream.Grid.Ceil(o.stream.To)
}

// saveEvery saves the cursor every second until ctx ends.
func (o *Outing) saveEvery(ctx context.Context) {
	t := time.NewTicker(reportEvery)
	defer t.Stop()
	outage := pacing.Outage{Every: logAgain}
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			o.stream.logLost(false)
			o.pipeline.save(ctx, []*stream{o.stream}, &outage)
		}
	}
}

// State returns the state of the excursion. It is safe for concurrent use, and may be called
// before and after Run.
func (o *Outing) State() State { return o.stream.state() }

// Stats returns those of its ledger. Like State, it may be called at any time.
func (o *Outing) Stats() source.Stats { return o.stream.ledger.Stats() }
