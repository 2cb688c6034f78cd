package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// deliver waits for a job, announces the gaps that come before it, publishes its
// tensors, and ends its slot. Without a job it only announces gaps. Once it has
// returned an error it is called with on false, and only gives jobs back.
func (p *Pipeline) deliver(ctx context.Context, s *stream, j *job, on bool) (fatal error) {
	if j != nil {
		<-j.done // every slot before this one has ended by now
	}
	s.delivering.Store(true)
	defer s.delivering.Store(false)
	if on {
		fatal = p.tellGaps(ctx, s)
	}
	if j == nil {
		return fatal
	}
	outcome, finished := source.Pending, false
	if on && fatal == nil {
		outcome, fatal = p.finish(ctx, s, j)
		finished = fatal == nil
	}
	s.batches.pass(j)
	s.end(j, outcome, nil)
	if finished {
		j.show(outcome)
	}
	p.release(j)
	return fatal
}

// finish publishes a job's tensors, and returns how its slot ends, as far as that does not depend
// on batches. A slot is published when all of its tensors are that anybody listens to; one whose
// publishing was cut short by the end stays pending.
func (p *Pipeline) finish(ctx context.Context, s *stream, j *job) (outcome source.Outcome, fatal error) {
	s.judge(j)
	switch err := j.result.err; {
	case errors.Is(err, errStale) || err == nil && j.stale(p.opts.Now()):
		outcome = source.Stale
		j.lostAll()
	case err != nil:
		outcome = source.Undecodable
		j.lostAll()
		s.health.lose(err)
	default:
		if outcome, err = p.publishAll(ctx, s, j); err != nil {
			j.result.err = err
			return source.Pending, err
		}
	}
	return outcome, nil
}

// publishAll delivers the tensors of a slot. The outcome is pending where ctx ended first,
// unchanged where the gates have held back all that somebody listens to, skipped where somebody
// else has published it, and unwatched where nobody listens to any of them.
func (p *Pipeline) publishAll(ctx context.Context, s *stream, j *job) (source.Outcome, error) {
	outcome := source.Unwatched
	for i := range j.routes {
		if j.gated.holds(i) {
			outcome = source.Unchanged
		}
	}
	for i := range j.routes {
		if j.gated.holds(i) { // or it is only looked at
			continue
		}
		switch { // a frame is delivered with its clip
		case j.clips.of(i) == nil:
		case !j.clips.heard(i):
			j.clips.ask(ctx, s.delivery, i, j.routes[i].Subject)
		case j.result.tensor(i) != nil && j.clips.wants(i, j.frame.Slot):
			outcome = source.Published
		case outcome == source.Unwatched && !j.clips.wants(i, j.frame.Slot):
			outcome = source.Skipped
		}
		for _, t := range j.clips.take(j, i) {
			err := p.publish(ctx, s, j, i, t)
			if t.Clip != nil {
				t.Release()
				if errors.Is(err, publish.ErrUnwatched) {
					j.clips.unheard(i)
				}
			}
			switch {
			case err == nil && outcome != source.Dropped:
				outcome = source.Published
			case err == nil, errors.Is(err, publish.ErrUnwatched), errors.Is(err, errWaits):
			case errors.Is(err, publish.ErrRepeated):
				if outcome == source.Unwatched || outcome == source.Unchanged {
					outcome = source.Skipped
				}
			case dropped(err):
				outcome = source.Dropped
				s.health.lose(err)
			case errors.Is(err, ctx.Err()):
				return source.Pending, nil
			default:
				return source.Pending, fmt.Errorf("stream %s: publishing: %w", s.Name, err)
			}
		}
	}
	return outcome, nil
}

// publish delivers a tensor of one of the job's routes, or makes it a row of a batch.
func (p *Pipeline) publish(ctx context.Context, s *stream, j *job, route int, t *transform.Tensor) error {
	if b := s.batches.of(route); b != nil {
		return b.add(ctx, j, route)
	}
	m := publish.NewMessage(j.routes[route].Subject, t)
	if m.Expires = p.expires(s, j); j.frame.Late {
		m.Header[publish.HeaderLate] = []string{"true"}
	}
	if since := j.gated.sinceOf(route); since > 0 {
		m.Header[publish.HeaderSince] = []string{since.String()}
	}
	s.describe(j, m)
	if s.mark != nil {
		m = s.mark(m)
	}
	m = j.seen.publishing(t.Output.Name, m)
	begin := time.Now()
	err := s.delivery.Publish(ctx, m)
	j.seen.published(t.Output.Name, m, time.Since(begin), err)
	if err != nil && !errors.Is(err, publish.ErrRepeated) {
		j.gated.lost(route)
	}
	return err
}

// expires returns when the tensors of a job are of no use any more, zero for never.
func (p *Pipeline) expires(s *stream, j *job) time.Time {
	if s.Freshness <= 0 || j.frame.Late {
		return time.Time{}
	}
	return time.Now().Add(j.frame.Slot.Add(s.Freshness).Time().Sub(p.opts.Now().Add(-j.frame.Trail)))
}

// tellGaps announces the gaps that the cursor has passed, in their place before
// whatever the same goroutine publishes next. A gap that ctx kept from being announced
// stays untold, and holds the saved cursor back.
func (p *Pipeline) tellGaps(ctx context.Context, s *stream) error {
	for {
		g, some := s.ledger.NextGap()
		if !some {
			return nil
		}
		gap := publish.Gap{Stream: s.Name, From: g.From, To: g.To, Slots: g.Slots, Reason: g.Reason.String()}
		err := s.delivery.Gap(ctx, gap, s.gapRoutes())
		s.seen.gapTold(gap, err)
		switch {
		case err == nil, dropped(err):
			s.ledger.Told(g)
		case errors.Is(err, ctx.Err()):
			return nil
		default:
			return fmt.Errorf("stream %s: announcing a gap: %w", s.Name, err)
		}
	}
}

func dropped(err error) bool {
	var drop *publish.DropError
	return errors.As(err, &drop)
}
