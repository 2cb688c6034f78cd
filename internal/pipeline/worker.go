package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/tracing"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// A job is one frame on its way from the poller to the publisher.
type job struct {
	frame   source.Frame
	stream  *stream
	outputs []*transform.Output // to make: those of the stream, or some of them
	asked   bool                // for, so however old it is, and whoever listens
	cost    int64               // of the budget
	views   []*view             // of who wants to see it
	tensors []*transform.Tensor // by output, nil for one that nobody listens to
	err     error
	trace   *tracing.Frame
	outcome source.Outcome // of the slot
	done    chan struct{}  // closed when tensors and err are set
}

// skip ends a job as stale, without a worker.
func (j *job) skip() {
	j.err = errStale
	j.drop()
	close(j.done)
}

// drop gives the memory of the frame's picture back, which nobody needs any more.
func (j *job) drop() {
	if j.frame.Recycle != nil {
		j.frame.Recycle()
	}
	j.frame.Data, j.frame.Recycle = nil, nil
}

var errStale = errors.New("older than the freshness limit")

func newJob(f source.Frame, s *stream) *job {
	return &job{frame: f, stream: s, outputs: s.Outputs, done: make(chan struct{})}
}

// firstUnsized is taken for the bytes of tensors of unknown size before the first.
const firstUnsized = 8 << 20

// bytes returns what the job holds at most. Tensors that are as large as the
// picture are taken to be as large as those of the frame before.
func (j *job) bytes() int64 {
	n := int64(len(j.frame.Data))
	for _, o := range j.outputs {
		if size, known := o.Spec.Bytes(); known {
			n += int64(size)
		} else {
			n += j.stream.unsizedBytes()
		}
	}
	return n
}

func (s *stream) unsizedBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsized
}

func (s *stream) setUnsized(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsized = int64(n)
}

// work transforms jobs until there are no more.
func (p *Pipeline) work(w Worker) {
	defer w.Close()
	for j := range p.jobs {
		begin := time.Now()
		j.views = j.stream.views.take(j)
		j.tensors, j.err = p.transform(j.trace.Worker(w), j)
		p.load.worked(time.Since(begin))
		if j.views == nil {
			j.drop()
		}
		close(j.done)
	}
}

// transform makes a job's outputs. What is decoded is the same whichever of the
// stream's outputs are made.
func (p *Pipeline) transform(w Worker, j *job) ([]*transform.Tensor, error) {
	if j.stale(time.Now()) {
		return nil, errStale
	}
	begin := time.Now()
	wanted := p.wanted(j)
	if wanted == nil {
		return nil, nil
	}
	if err := w.Decode(j.frame, j.stream.Outputs); err != nil {
		return nil, err
	}
	decoded := time.Now()
	p.opts.Metrics.Stage.WithLabelValues("decode").Observe(decoded.Sub(begin).Seconds())
	tensors := make([]*transform.Tensor, len(j.outputs))
	for i, o := range j.outputs {
		if !wanted[i] {
			continue
		}
		t, err := w.Tensor(o)
		if err != nil {
			return tensors, fmt.Errorf("output %s: %w", o.Name, err)
		}
		tensors[i] = t
		if _, known := o.Spec.Bytes(); !known {
			j.stream.setUnsized(len(t.Data))
		}
	}
	p.opts.Metrics.Stage.WithLabelValues("transform").Observe(time.Since(decoded).Seconds())
	return tensors, nil
}

// wanted tells which of a job's outputs anybody listens to, nil where it is none.
func (p *Pipeline) wanted(j *job) []bool {
	wanted, some := make([]bool, len(j.outputs)), false
	for i := range j.outputs {
		wanted[i] = j.asked || p.opts.Interested == nil || p.opts.Interested(j.stream.Subjects[i]) || j.viewed(i)
		some = some || wanted[i]
	}
	if !some {
		return nil
	}
	return wanted
}

func (j *job) stale(now time.Time) bool {
	limit := j.stream.Poll.Freshness
	return !j.asked && limit > 0 && now.Sub(j.frame.Slot.Time()) > limit
}

// deliver publishes a job, and commits how it ended; before it the gaps that have
// passed, where they are told among the tensors, and nothing else where j is nil. After
// an error that makes no sense of going on, jobs are only given back.
func (p *Pipeline) deliver(ctx context.Context, s *stream, j *job, on bool) (fatal error) {
	if j != nil {
		<-j.done // all that is before it has ended
	}
	if on {
		fatal = p.inline(ctx, s)
	}
	if j == nil {
		return fatal
	}
	if on && fatal == nil {
		fatal = p.finish(ctx, s, j)
	}
	j.trace.End(j.outcome, j.err)
	p.release(j)
	return fatal
}

// finish publishes a job's tensors and commits its slot. A slot is published when
// all its tensors are; one whose publishing was cut short by the end stays
// pending.
func (p *Pipeline) finish(ctx context.Context, s *stream, j *job) error {
	switch {
	case errors.Is(j.err, errStale) || j.err == nil && j.stale(time.Now()):
		j.outcome = source.Stale
	case j.err != nil:
		j.outcome = source.Undecodable
		s.lost(j.err)
	default:
		if err := p.publishAll(ctx, j); err != nil {
			j.err = err
			return err
		}
	}
	if j.outcome != source.Pending {
		s.ledger.Resolve(j.frame.Slot, j.outcome)
	}
	j.show(j.outcome)
	return nil
}

// publishAll delivers the tensors of a slot, and notes how the slot ended: pending
// where ctx did first.
func (p *Pipeline) publishAll(ctx context.Context, j *job) error {
	begin := time.Now()
	s, outcome := j.stream, source.Published
	for i, t := range j.tensors {
		if t == nil {
			continue
		}
		err := p.publish(ctx, j, s.Subjects[i], t)
		var drop *publish.DropError
		switch {
		case err == nil:
		case errors.As(err, &drop):
			outcome = source.Dropped
			s.lost(err)
			p.opts.Metrics.PublishErrors.WithLabelValues(drop.Reason).Inc()
		case errors.Is(err, ctx.Err()):
			return nil
		default:
			return fmt.Errorf("stream %s: publishing: %w", s.Name, err)
		}
	}
	p.opts.Metrics.Stage.WithLabelValues("publish").Observe(time.Since(begin).Seconds())
	j.outcome = outcome
	return nil
}

// publish delivers one tensor, and counts it where it was.
func (p *Pipeline) publish(ctx context.Context, j *job, subject string, t *transform.Tensor) error {
	m := publish.NewMessage(subject, t)
	if limit := j.stream.Poll.Freshness; limit > 0 {
		m.Expires = t.Slot.Add(limit).Time()
	}
	output := t.Output.Name
	m, end := j.trace.Publish(output, m)
	err := p.opts.Publisher.Publish(ctx, m)
	end(err)
	if err != nil {
		return err
	}
	p.opts.Metrics.PublishBytes.WithLabelValues(output).Add(float64(publish.Size(m)))
	p.opts.Metrics.Delivered(output, time.Since(t.Slot.Time()), j.trace.Sampled())
	return nil
}
