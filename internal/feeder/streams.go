package feeder

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/camerahealth"
	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/ondemand"
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/gate"
)

// A builder turns the streams of a plan into those of the pipeline.
type builder struct {
	plan    Plan
	service *kinesis.Client
	metrics *metrics.Metrics
	traces  *traces
	length  time.Duration // after which the streams end, unless 0
	// purse is what images may cost.
	purse *purse
	// requested are the frames on request.
	requested *ondemand.Frames
	// claim makes sure that a stream can be delivered, before it starts.
	claim func(context.Context, pipeline.Stream) error
	// last is that of the outlet.
	last func(context.Context, pipeline.Stream) (source.Slot, bool, error)
	// moved is told of the result of each look-up of a stream's endpoint.
	moved func(stream, result string)
	// cameras has every stream that was made.
	cameras *cameras
	// forget is told of a stream that stops.
	forget func(stream string)
	// woken is told of a slot of a stream in which something has changed after it was sampled
	// less often, where its gates ask for a burst then.
	woken func(stream string, at source.Slot)
	// interest finds out whether anybody listens.
	interest interest
	// spread is how far apart polls that are due at the same time are put.
	spread func() time.Duration
}

// with returns the builder of another plan.
func (b *builder) with(plan Plan) *builder {
	other := *b
	other.plan = plan
	return &other
}

// named returns the streams that the config lists by name or ARN.
func (b *builder) named() ([]pipeline.Stream, error) {
	now := b.service.Now()
	var all []pipeline.Stream
	for _, c := range b.plan.Config.Streams {
		if c.Prefix != "" {
			continue
		}
		s, err := b.stream(c, now)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", c.Name, err)
		}
		all = append(all, s)
	}
	return all, nil
}

// stream returns a stream for the pipeline. It begins at now unless the config says
// otherwise.
func (b *builder) stream(c config.Stream, now time.Time) (pipeline.Stream, error) {
	grid, err := source.NewGrid(c.Interval)
	if err != nil {
		return pipeline.Stream{}, err
	}
	s := pipeline.Stream{
		Name: c.Name, Grid: grid, From: source.SlotAt(now), Key: c.Name, Grace: c.Grace, Freshness: c.Freshness,
	}
	switch c.From.Kind {
	case config.StartAt:
		s.From = source.SlotAt(c.From.Time)
		// A backfill has a cursor of its own, apart from that of the live stream.
		s.Key += "@" + s.From.String()
		s.Backfill = true
	case config.StartNow:
		s.Key = ""
	}
	switch {
	case b.length > 0:
		s.To = s.From.Add(b.length)
	case !c.To.Time.IsZero():
		s.To = source.SlotAt(c.To.Time)
	}
	made := b.camera(c)
	s.Camera = made.sight
	s.Routes, s.Gates = b.routes(c, made.sight), b.gates(c)
	b.batch(c, &s)
	if o := c.Health.Options(); o.Every > 0 {
		s.Health = camerahealth.New(o)
	}
	s.Open = b.opener(made, s)
	return s, nil
}

// batch puts a stream into the batches of its outputs, on their subjects.
func (b *builder) batch(c config.Stream, s *pipeline.Stream) {
	for i, name := range c.Outputs {
		of := b.plan.Config.Outputs[name].Batch.Of()
		if of == nil {
			continue
		}
		if s.Batches == nil {
			s.Batches = make([]*pipeline.Batch, len(c.Outputs))
		}
		s.Batches[i], s.Routes[i].Subject = &pipeline.Batch{Batch: *of, Output: b.plan.Outputs[name]}, b.plan.Subject.Subject(of.Name, name)
	}
}

// routes returns the outputs of a stream, and where its own tensors go.
func (b *builder) routes(c config.Stream, sight *transform.Camera) []publish.Route {
	all := make([]publish.Route, len(c.Outputs))
	for i, name := range c.Outputs {
		all[i] = publish.Route{Output: sight.Of(b.plan.Outputs[name]), Subject: b.plan.Subject.Subject(c.Name, name)}
	}
	return all
}

// gates returns the gates of a stream's outputs, nil where none has one.
func (b *builder) gates(c config.Stream) *pipeline.Gates {
	all := make([]*pipeline.Gate, len(c.Outputs))
	for i, name := range c.Outputs {
		if g := b.plan.Config.Outputs[name].Gate; g.Change > 0 {
			all[i] = &pipeline.Gate{Options: gate.Options{Change: float64(g.Change), Every: g.Every}, Relax: g.Relax}
		}
	}
	return pipeline.NewGates(all, func(at source.Slot) {
		if slices.ContainsFunc(c.Outputs, func(name string) bool { return b.plan.Config.Outputs[name].Gate.Burst }) {
			b.woken(c.Name, at)
		}
	})
}

// opener returns what opens the feed of a stream, which polls GetImages.
func (b *builder) opener(c *camera, s pipeline.Stream) source.OpenFeed {
	began := time.Now()
	opts := b.poll(c, s)
	opts.Wanted = b.interest.wanted(c.config, s, b.service.Now)
	opts.Spend = b.purse.spend(s.Name, b.requested.Spend)
	opts.Pace = b.purse.paces(c.config)
	if s.Gates != nil {
		opts.Pace = widest(opts.Pace, s.Gates.Pace)
	}
	return func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
		opts := opts
		opts.Fetched = fetched
		// Otherwise there is a cursor.
		opts.FromNow = !s.Backfill && l.Stats().Start == s.Grid.Ceil(s.From)
		opts.Check = func(ctx context.Context) error { return b.place(ctx, c.client, s, began, l) }
		return b.requested.Remember(poll.New(b.traces.fetcher(s.Name, c.client), l, opts), c.client)
	}
}

// widest returns the pace that is wider, whichever of two that is; a negative one is the widest. The
// first may be nil.
func widest(a, b func() time.Duration) func() time.Duration {
	if a == nil {
		return b
	}
	return func() time.Duration {
		pace := a()
		if pace < 0 {
			return pace
		}
		return max(pace, b())
	}
}

// poll returns how to poll a stream.
func (b *builder) poll(c *camera, s pipeline.Stream) poll.Options {
	opts := PollOptions(c.config)
	opts.To, opts.Spread, opts.Now, opts.Unsure = s.To, b.spread, b.service.Now, b.service.Unsure
	opts.Retention = c.client.Retention
	return opts
}

// PollOptions returns how the config says to poll a stream.
func PollOptions(c config.Stream) poll.Options {
	return poll.Options{
		Stream: c.Name, Lag: time.Duration(c.Lag), Overlap: time.Duration(c.Overlap), Grace: c.Grace, Freshness: c.Freshness,
		Again: c.Late, Linger: linger(c), Lookback: c.Lookback,
	}
}

// linger returns how long a stream is read after nobody wants it any more. Its hours end when
// they say, unless somebody listens.
func linger(c config.Stream) time.Duration {
	if c.Poll == config.PollSubscribed {
		return c.Linger
	}
	return 0
}
