package feeder

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cvfeeder/cvfeeder/internal/budget"
	"github.com/cvfeeder/cvfeeder/internal/bursts"
	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/observe"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/metrics/status"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/source"
)

// newBursts returns the bursts of the streams that run here.
func (p *parts) newBursts() *bursts.Bursts {
	return bursts.New(bursts.Options{Now: p.service.Now, Limits: p.burstLimits, Open: p.openBurst, Log: p.log})
}

// burstLimits returns what requests of a stream may ask for.
func (p *parts) burstLimits(stream string) (bursts.Limits, error) {
	c := p.cameras.of(stream)
	if c == nil || !slices.Contains(p.pipeline.Names(), stream) {
		return bursts.Limits{}, fmt.Errorf("%w stream %q", pipeline.ErrUnknown, stream)
	}
	refused := func(why string) (bursts.Limits, error) { return bursts.Limits{}, &bursts.RefusedError{Text: why} }
	cfg := p.plan.Config
	switch {
	case cfg.Delivery.Mode == config.ModeDurable:
		return refused("there are no bursts in the mode durable, whose subjects have every slot in order: request the range (cvf.svc.frames), replay it (cvfeeder replay), or use delivery.mode live or ring")
	case len(withoutClips(c.builder.routes(c.config, c.sight))) == 0:
		return refused(fmt.Sprintf("all outputs of stream %q make clips, which have frames at one pace: request the range (cvf.svc.frames), or give the stream an output without clips", stream))
	case c.config.From.Kind == config.StartAt:
		return refused(fmt.Sprintf("stream %q is a range, with from: TIME, which has no bursts: give it a shorter interval", stream))
	}
	b := c.config.Burst
	limits := bursts.Limits{Interval: b.Interval, Before: b.Before, After: b.After, Most: b.Most}
	if cfg.Delivery.Mode == config.ModeRing {
		limits.Slots = cmp.Or(p.plan.Stream.Keep, deliver.DefaultKeep)
		limits.SlotsBecause = "the ring holds no more messages of a subject, and newer ones would be pushed out: raise delivery.stream.keep"
	}
	return limits, nil
}

// openBurst begins to read a part of a burst.
func (p *parts) openBurst(r bursts.Range) (bursts.Reading, error) {
	feed := p.feedOf(r.Stream)
	stages := bursts.Stages{
		Now:     func() source.Slot { return source.SlotAt(p.service.Now()).Add(-feed.Trail) },
		Visible: feed.Visible, Fragment: feed.Fragment,
	}
	parts, err := stages.Split(r)
	if err != nil {
		return nil, err
	}
	readings := make([]bursts.Reading, len(parts))
	for i, part := range parts {
		s, err := p.lookBack(part.Stream, part.Interval, part.From, part.To, source.ForBurst)
		var spent *budget.Error
		if errors.As(err, &spent) {
			return nil, &bursts.RefusedError{Text: spent.Error(), Busy: true}
		}
		if err != nil {
			return nil, err
		}
		s.Routes = withoutClips(s.Routes)
		readings[i] = p.pipeline.Begin(pipeline.Excursion{
			Stream: s, Observers: []pipeline.Observer{observe.Bursts(p.metrics, p.service.Now)},
			Mark: func(m publish.Message) publish.Message { return bursts.Mark(r.Burst, m) },
		})
	}
	return stages.Read(parts, readings), nil
}

// withoutClips returns the routes that a burst may publish on: frames by themselves would be
// strange to whoever reads clips.
func withoutClips(routes []publish.Route) []publish.Route {
	return slices.DeleteFunc(slices.Clone(routes), func(r publish.Route) bool { return r.Output.Spec.Clip.Frames > 0 })
}

// ends ends the bursts of a stream when that stops: its lease may be with another replica, and
// nothing of it can be published here.
type ends struct{ all *bursts.Bursts }

// Stream implements [pipeline.Observer].
func (e ends) Stream(s pipeline.Stream, _ source.Slot) pipeline.StreamObserver {
	return endsOf{all: e.all, name: s.Name}
}

type endsOf struct {
	pipeline.IgnoreStream
	all  *bursts.Bursts
	name string
}

// Removed implements [pipeline.StreamObserver].
func (e endsOf) Removed() { e.all.End(e.name) }

// feedOf returns the state of a stream's feed as the watchdog last saw it, the zero value if it
// has not.
func (p *parts) feedOf(stream string) source.FeedState {
	if seen := p.seen.Load(); seen != nil {
		for _, s := range seen.states {
			if s.Name == stream {
				return s.Feed
			}
		}
	}
	return source.FeedState{}
}

// askBurst answers a request for a burst.
func (p *parts) askBurst(r frames.BurstRequest) (frames.BurstAnswer, error) {
	if r.Time.IsZero() {
		r.Time = p.service.Now()
	}
	a, err := p.bursts.Ask(bursts.Request(r))
	var refused *bursts.RefusedError
	switch {
	case errors.As(err, &refused) && refused.Busy:
		return frames.BurstAnswer{}, &frames.Error{Code: frames.CodeBusy, Text: refused.Text}
	case refused != nil:
		return frames.BurstAnswer{}, &frames.Error{Code: frames.CodeBadRequest, Text: refused.Text}
	case err != nil:
		return frames.BurstAnswer{}, serviceError(err)
	}
	return frames.BurstAnswer{
		Burst: a.ID, Stream: a.Stream, From: a.From.String(), To: a.To.String(), Interval: a.Interval.String(), Slots: a.Slots, Joined: a.Joined,
	}, nil
}

// woken begins a burst of a stream in which something has changed.
func (p *parts) woken(stream string, at source.Slot) {
	if _, err := p.bursts.Begin(stream, at.Time(), "change"); err != nil {
		p.log.Warn("something has changed, and there is no burst to look back at what led to it", "stream", stream, "slot", at.String(), "err", err)
	}
}

// streams returns the state of every stream, by name, with the slots of its bursts.
func (p *parts) streams() []pipeline.State {
	states := p.pipeline.Streams()
	for i := range states {
		states[i].Stats = p.bursts.Add(states[i].Name, states[i].Stats)
	}
	return states
}

// metricOf returns the state of a stream as the metrics show it, with its bursts.
func (p *parts) metricOf(s *pipeline.State) metrics.Stream {
	m := metricOf(s)
	m.Stats, m.Begun = p.bursts.Add(s.Name, s.Stats), p.bursts.Begun(s.Name)
	return m
}

// metricsNow returns that of every stream, with what it costs.
func (p *parts) metricsNow() []metrics.Stream {
	states := p.pipeline.Streams()
	all := make([]metrics.Stream, len(states))
	for i := range states {
		all[i] = p.metricOf(&states[i])
		all[i].Used, all[i].Limited = p.purse.own(all[i].Name)
	}
	return all
}

// burstsOf returns the bursts of a stream as the page shows them.
func (p *parts) burstsOf(stream string) []status.Burst {
	states := p.bursts.Of(stream)
	all := make([]status.Burst, len(states))
	for i, s := range states {
		all[i] = status.Burst{
			ID: s.ID, From: s.From.String(), To: s.To.String(), Interval: s.Interval.Seconds(), Reason: s.Reason,
			Running: s.Running, Slots: s.Slots, Outcomes: map[string]uint64{},
		}
		for _, o := range source.Outcomes() {
			if n := s.Stats.Ended[o]; n > 0 {
				all[i].Outcomes[o.String()] = n
			}
		}
	}
	return all
}
