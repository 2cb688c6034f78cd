package feeder

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/cores"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/internal/replay"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/jobs"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/transform/opencv"
)

var errEmbedded = errors.New("nats.url is embedded, and that server is inside of the running feeder: name the address on which it listens with --nats, such as nats://127.0.0.1:4222")

// aloneConfig returns the config for a process that runs no live streams.
func (f *Feeder) aloneConfig() (*config.Config, error) {
	if f.Config.NATS.URL == config.Embedded {
		return nil, Usage(errEmbedded)
	}
	cfg := *f.Config
	cfg.Delivery.Mode, cfg.Delivery.Gaps = config.ModeLive, config.GapsNone
	cfg.Cluster.Group, cfg.State, cfg.HTTP.Listen = "", "", ""
	// The cost of a job is confirmed when it is asked for, and what the streams cost is another
	// process's to know.
	cfg.Limits, cfg.Streams = config.Limits{}, slices.Clone(cfg.Streams)
	for i := range cfg.Streams {
		cfg.Streams[i].Limits = config.Limits{}
	}
	return &cfg, nil
}

// Replay calls run with what plans and runs replay jobs, in a process that runs none of the
// streams of the config. It returns when run does.
func (f *Feeder) Replay(ctx context.Context, run func(context.Context, *Replays) error) (err error) {
	cfg, err := f.aloneConfig()
	if err != nil {
		return err
	}
	g := New(Options{Config: cfg, Log: f.Log, AccessKey: f.AccessKey, Secret: f.Secret})
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	plan, err := NewPlan(cfg)
	if err != nil {
		return Usage(err)
	}
	plan.Overhead, plan.Needs = deliver.StoredOverhead, preflight.NeedsReplay(cfg.Replay.Stream, jobs.Bucket)
	p, err := g.replayParts(ctx, plan, stop)
	if err != nil {
		return err
	}
	defer p.traces.end()
	defer func() { err = errors.Join(err, p.broker.close(ctx)) }()
	defer background(context.WithoutCancel(ctx), func(ctx context.Context) {
		if err := p.broker.check(ctx, plan.Needs); err != nil {
			stop(err)
		}
	})()
	if err := checkCredentials(ctx, p.service, f.Log); err != nil {
		return err
	}
	b := &builder{
		plan: plan, service: p.service, metrics: p.metrics, traces: p.traces, cameras: &p.cameras, purse: p.purse,
		moved: func(string, string) {}, spread: func() time.Duration { return poll.SpreadOver(1) },
	}
	b.learnTime(ctx)
	r, err := p.openReplays(ctx, b, false)
	if err != nil {
		return err
	}
	var ran error
	if err := p.pipeline.Run(context.WithoutCancel(ctx), nil, func(context.Context, pipeline.Set) { ran = run(ctx, r) }); err != nil {
		return err
	}
	return ran
}

// replayParts makes the parts that a replay needs.
func (f *Feeder) replayParts(ctx context.Context, plan Plan, stop func(error)) (*parts, error) {
	switches, err := ReadSwitches(os.Getenv)
	if err != nil {
		return nil, err
	}
	m := metrics.New(metrics.Build{Version: Version(), OpenCV: opencv.Engine()})
	service, err := f.service(ctx, plan, m)
	if err != nil {
		return nil, err
	}
	traces := startTraces(ctx, f.Log)
	limit := newPayloadLimit(plan, traces.overhead, f.Log, stop)
	b, err := f.connect(plan, switches, limit, stop)
	if err != nil {
		traces.end()
		return nil, err
	}
	p := &parts{plan: plan, service: service, traces: traces, cores: cores.New(os.DirFS("/")), limit: limit, broker: b, metrics: m, log: f.Log}
	out, err := newOutlet(plan, b, nil, m, service.Now, f.Log)
	if err != nil {
		traces.end()
		return nil, errors.Join(err, b.close(ctx))
	}
	p.outlet, p.purse = out, newPurse(f.Config, service, out.members, f.Log)
	p.pipeline = f.pipeline(p, switches)
	return p, nil
}

// Jobs calls use with the records of the replay jobs.
func (f *Feeder) Jobs(ctx context.Context, use func(context.Context, replay.Store) error) (err error) {
	cfg, err := f.aloneConfig()
	if err != nil {
		return err
	}
	g := New(Options{Config: cfg, Log: f.Log})
	plan, err := NewPlan(cfg)
	if err != nil {
		return Usage(err)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	b, err := g.connect(plan, Switches{DirectWrites: true}, newPayloadLimit(Plan{Config: cfg}, 0, f.Log, stop), stop)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close(ctx)) }()
	store, err := jobs.Open(ctx, b.conn, cfg.Replay.Replicas)
	if err != nil {
		return err
	}
	return use(ctx, jobStore{store})
}
