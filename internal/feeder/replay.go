package feeder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/internal/replay"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/jobs"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
	"github.com/cvfeeder/cvfeeder/source/poll/ahead"
)

// replayRoom is how many bytes of pictures all streams of a process that are replayed may have
// read ahead.
const replayRoom = 128 << 20

// A ReplayRequest says what to replay.
type ReplayRequest struct {
	// Streams are patterns of names, as [path.Match] reads them.
	Streams  []string
	From, To time.Time
	// Interval is 0 for that of each stream.
	Interval time.Duration
	// Outputs are empty for all of each stream.
	Outputs []string
	// Quota is 0 for that of the config.
	Quota float64
	// By says who runs the job.
	By string
}

// Replays plan and run replay jobs.
type Replays struct {
	parts      *parts
	builder    *builder
	store      jobStore
	delivery   *deliver.Stored
	room       *ahead.Room
	background bool // behind the live streams
}

// jobStore is the bucket of the jobs.
type jobStore struct{ *jobs.Store }

// Conflict implements [replay.Store].
func (jobStore) Conflict(err error) bool { return errors.Is(err, jobs.ErrConflict) }

// openReplays waits for JetStream, and opens what replay jobs need there.
func (p *parts) openReplays(ctx context.Context, b *builder, background bool) (*Replays, error) {
	c := p.plan.Config.Replay
	delivery := deliver.NewStored(p.broker.conn, deliver.StoredOptions{
		Stream: replayStream(c), OnRetry: onRetry(p.metrics, &p.broker.troubles, c.Stream, p.log),
		OnForeign: onForeign(p.metrics, p.log), Now: p.service.Now,
	})
	if err := delivery.Open(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, streamRefused(err)
	}
	store, err := jobs.Open(ctx, p.broker.conn, c.Replicas)
	if err != nil {
		return nil, err
	}
	return &Replays{parts: p, builder: b, store: jobStore{store}, delivery: delivery, room: ahead.NewRoom(replayRoom), background: background}, nil
}

// streamRefused says what to do about a JetStream stream that replays cannot use. Its errors speak
// of the keys of the live streams' one.
func streamRefused(err error) error {
	switch {
	case errors.Is(err, dial.ErrRefused):
		return err
	case errors.Is(err, dial.ErrStream):
		keys := strings.NewReplacer("delivery.stream.name", "replay.stream", "delivery.stream.", "replay.", ", or use delivery.mode: live", ": replays are stored there")
		return Usage(errors.New(keys.Replace(err.Error())))
	}
	return fmt.Errorf("replays are stored in JetStream: %w", err)
}

// replayStream returns the JetStream stream of replay jobs.
func replayStream(c config.Replay) deliver.StreamOptions {
	return deliver.StreamOptions{
		Kind: deliver.Durable, Name: c.Stream, Subjects: []string{publish.ReplayPrefix + ">"},
		Replicas: c.Replicas, MaxBytes: int64(c.MaxBytes), Limits: c.Retention == config.RetentionLimits,
	}
}

// Plan returns the job of a request, which is not kept yet. Errors are about the request, or those
// of looking up the streams of a prefix.
func (r *Replays) Plan(ctx context.Context, q ReplayRequest) (*replay.Job, error) {
	cfg, now := r.parts.plan.Config, r.parts.service.Now()
	found, err := r.match(ctx, q.Streams)
	if err != nil {
		return nil, err
	}
	j := &replay.Job{
		ID: replay.NewID(now), Status: replay.Paused, Created: now.UTC(), From: q.From.UTC(), To: q.To.UTC(),
		Outputs: q.Outputs, Quota: q.Quota, By: q.By,
	}
	if j.Quota == 0 {
		j.Quota = float64(cfg.Replay.Quota)
	}
	for _, name := range q.Outputs {
		if _, known := cfg.Outputs[name]; !known {
			return nil, Usage(fmt.Errorf("there is no output %.64q in the config", name))
		}
	}
	bytes := map[string]uint64{}
	for _, c := range found {
		interval := q.Interval
		if interval == 0 {
			interval = c.Interval
		}
		for _, output := range wantedOutputs(c, q.Outputs) {
			n, _ := r.parts.plan.Outputs[output].Spec.Bytes()
			bytes[c.Name] += uint64(n)
		}
		j.Streams = append(j.Streams, replay.Part{Stream: c.Name, Interval: interval})
	}
	if err := j.Check(now); err != nil {
		return nil, Usage(err)
	}
	j.Plan(replay.Prices{
		PerMillionImages: cfg.Price.PerMillionImages, Currency: cfg.Price.Currency, PerSecond: limits.MediaPoints,
		Bytes: func(stream string) uint64 { return bytes[stream] },
	})
	return j, nil
}

// match returns the streams of the config whose names match one of the patterns, and that have
// one of the outputs.
func (r *Replays) match(ctx context.Context, patterns []string) ([]config.Stream, error) {
	var all []config.Stream
	for _, c := range r.parts.plan.Config.Streams {
		names := []string{c.Name}
		if c.Prefix != "" {
			var err error
			if names, err = r.parts.service.List(ctx, c.Prefix); err != nil {
				return nil, fmt.Errorf("prefix %s: %w", c.Prefix, err)
			}
		}
		for _, name := range names {
			c.Name, c.Prefix = name, ""
			known := slices.ContainsFunc(all, func(other config.Stream) bool { return other.Name == name })
			if !known && matches(patterns, name) {
				all = append(all, c)
			}
		}
	}
	if len(all) == 0 {
		return nil, Usage(fmt.Errorf("no stream of the config matches %q", patterns))
	}
	return all, nil
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

// wantedOutputs returns those outputs of a stream that are wanted.
func wantedOutputs(c config.Stream, wanted []string) []string {
	if len(wanted) == 0 {
		return c.Outputs
	}
	return slices.DeleteFunc(slices.Clone(c.Outputs), func(name string) bool { return !slices.Contains(wanted, name) })
}

// Create keeps a job, so that it can be run.
func (r *Replays) Create(ctx context.Context, j *replay.Job) error {
	return replay.Create(ctx, r.store, j)
}

// Get returns a job.
func (r *Replays) Get(ctx context.Context, id string) (*replay.Job, error) {
	return replay.Get(ctx, r.store, id)
}

// Run runs a job until it is done: see [replay.Runner.Run].
func (r *Replays) Run(ctx context.Context, id string, show func(*replay.Job)) error {
	host, _ := os.Hostname()
	runner := replay.Runner{
		Store: r.store, Owner: fmt.Sprintf("%s/%d/%s", host, os.Getpid(), replay.NewID(time.Now())),
		Open: r.open, End: r.end, Log: r.parts.log,
		Ending: func(err error) bool { return errors.Is(err, pipeline.ErrNotRunning) },
	}
	return runner.Run(ctx, id, show)
}

// camera returns the config of a stream of a job.
func (r *Replays) camera(name string) (config.Stream, error) {
	streams := r.parts.plan.Config.Streams
	for _, c := range streams {
		if c.Name == name {
			return c, nil
		}
	}
	for _, c := range streams {
		if c.Prefix != "" && len(name) >= len(c.Prefix) && name[:len(c.Prefix)] == c.Prefix {
			c.Name, c.Prefix = name, ""
			return c, nil
		}
	}
	return config.Stream{}, fmt.Errorf("%w stream %q in the config", pipeline.ErrUnknown, name)
}

// routes returns where the tensors of a stream of a job go.
func (r *Replays) routes(j *replay.Job, c config.Stream) ([]publish.Route, error) {
	subjects, err := publish.ReplaySubject(j.ID)
	if err != nil {
		return nil, err
	}
	var all []publish.Route
	sight := c.Camera()
	for _, name := range wantedOutputs(c, j.Outputs) {
		all = append(all, publish.Route{Output: sight.Of(r.parts.plan.Outputs[name]), Subject: subjects.Subject(c.Name, name)})
	}
	return all, nil
}

// open opens a stream of a job: an excursion whose feed reads ahead, with a share of the stream's
// quota.
func (r *Replays) open(j *replay.Job, part replay.Part, cursors source.Cursors) (replay.Outing, error) {
	c, err := r.camera(part.Stream)
	if err != nil {
		return nil, err
	}
	routes, err := r.routes(j, c)
	if err != nil {
		return nil, err
	}
	grid, err := source.NewGrid(part.Interval)
	if err != nil {
		return nil, err
	}
	s := pipeline.Stream{
		Name: c.Name, Grid: grid, From: source.SlotAt(j.From), To: source.SlotAt(j.To), Key: c.Name, Backfill: true, Routes: routes,
		Camera: c.Camera(),
	}
	s.Open = r.feed(j, c, s)
	return r.parts.pipeline.Begin(pipeline.Excursion{
		Stream: s, Delivery: replayDelivery{r.delivery, j.ID}, Cursors: cursors, Background: r.background,
	}), nil
}

// feed returns what opens the feed of a stream of a job.
func (r *Replays) feed(j *replay.Job, c config.Stream, s pipeline.Stream) source.OpenFeed {
	b := r.builder
	own := b.clientOptions(c)
	own.Share = j.Quota
	client := b.service.Stream(own)
	opts := (&camera{config: c, client: client, builder: b}).past(s, source.ForReplay)
	opts.Spread = nil // nothing is due
	return func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
		opts := opts
		opts.Fetched = fetched
		return ahead.New(b.purse.guard(c.Name, b.traces.fetcher(c.Name, client)), l, opts, ahead.Options{Room: r.room})
	}
}

// end announces the end of a stream of a job on each of its subjects.
func (r *Replays) end(ctx context.Context, j *replay.Job, part replay.Part) error {
	c, err := r.camera(part.Stream)
	if err != nil {
		return err
	}
	routes, err := r.routes(j, c)
	if err != nil {
		return err
	}
	grid, err := source.NewGrid(part.Interval)
	if err != nil {
		return err
	}
	for _, route := range routes {
		e := publish.End{Stream: c.Name, Job: j.ID, To: grid.Ceil(source.SlotAt(j.To)), Streams: len(j.Streams)}
		if err := r.delivery.Publish(ctx, publish.NewEnd(route.Subject, e, route.Output)); err != nil {
			return err
		}
	}
	return nil
}

// replayDelivery is the delivery of one job. Its gaps are messages in their place among the
// tensors: events would be taken for those of the live stream.
type replayDelivery struct {
	*deliver.Stored
	job string
}

// Publish implements [publish.Delivery].
func (d replayDelivery) Publish(ctx context.Context, m publish.Message) error {
	return d.Stored.Publish(ctx, publish.ForReplay(m, d.job))
}

// Gap implements [publish.Delivery].
func (d replayDelivery) Gap(ctx context.Context, g publish.Gap, routes []publish.Route) error {
	for _, route := range routes {
		if err := d.Publish(ctx, publish.NewInlineGap(route.Subject, g, route.Output)); err != nil {
			return err
		}
	}
	return nil
}

// Interest implements [publish.Delivery]: whoever began the job wants all of it.
func (replayDelivery) Interest(context.Context, string) (bool, error) { return true, nil }
