// Package feeder puts a config to work. It turns the config into a [Plan], which is a
// value; builds the parts that the plan asks for, once (the client of Kinesis, the
// connection to NATS, the outlet, the pipeline, the page); runs them, and ends them in
// the right order. It is the one place where the adapters meet, and therefore larger
// than most packages.
//
//	err := feeder.New(feeder.Options{Config: cfg, Log: log}).Run(ctx)
//	os.Exit(feeder.ExitCode(err))
package feeder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/bursts"
	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/cores"
	"github.com/cvfeeder/cvfeeder/internal/observe"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/internal/web"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/ondemand"
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/opencv"
)

// closeTime limits how long each part may take to close once the pipeline has drained.
const closeTime = 5 * time.Second

// GCPercent is the program's setting of the garbage collector, in place of Go's 100.
// Nearly all of the memory holds pictures and tensors, which the collector need not scan.
// Running it more often therefore costs hardly any CPU time, and saves a quarter of the
// resident memory.
const GCPercent = 40

// Options are those of a [Feeder].
type Options struct {
	Config *config.Config
	Log    *slog.Logger
	// AccessKey and Secret are used instead of the SDK's own chain, where set.
	AccessKey, Secret string
	// Listen is the address of the embedded NATS server; default [dial.DefaultAddress].
	Listen string
	// Length, unless 0, is the time after which the streams end.
	Length time.Duration
	// File, where set, is where the config came from. When its contents change, or when
	// Hangup delivers a signal, the config is read again.
	File   *config.File
	Hangup <-chan os.Signal
	// Started, where set, is called in a goroutine of its own once the streams run. Its
	// context ends after they have ended, and [Feeder.Run] waits for it to return.
	Started func(context.Context, Running)
}

// A Feeder runs a config: it connects the cameras of the config to NATS.
type Feeder struct{ Options }

// New returns a feeder, which does nothing before [Feeder.Run].
func New(o Options) *Feeder { return &Feeder{o} }

// Running is the view of a feeder whose streams run.
type Running struct {
	// NATS and HTTP are the URLs of the embedded NATS server and of the status page, ""
	// where there is none.
	NATS, HTTP string

	parts *parts
}

// Streams returns the state of each stream now. It may be called after the end, too,
// and then returns the final state.
func (r Running) Streams() []metrics.Stream { return r.parts.metricsNow() }

// Run runs until ctx ends, all streams have reached their end, or an error makes it
// pointless to continue. [ExitCode] returns the exit code for the error.
func (f *Feeder) Run(ctx context.Context) (err error) {
	stopped := ctx
	defer func() {
		// Being stopped before everything is ready is not a failure.
		if stopped.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil
		}
	}()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	plan, err := NewPlan(f.Config)
	if err != nil {
		return Usage(err)
	}
	switches, err := ReadSwitches(os.Getenv)
	if err != nil {
		return err
	}
	f.logSwitches(switches)
	m := metrics.New(metrics.Build{Version: Version(), OpenCV: opencv.Engine()})
	service, err := f.service(ctx, plan, m)
	if err != nil {
		return err
	}
	traces := startTraces(ctx, f.Log)
	defer traces.end()
	limit := newPayloadLimit(plan, traces.overhead, f.Log, stop)
	b, err := f.connect(plan, switches, limit, stop)
	if err != nil {
		return err
	}
	defer func() {
		if denied := b.close(ctx); err == nil {
			err = denied
		}
	}()
	listener, err := f.listen()
	if err != nil {
		return err
	}
	mem, err := openShared(ctx, plan, f.Log)
	if err != nil {
		return errors.Join(err, closeListener(listener))
	}
	defer mem.close(f.Log)
	out, err := newOutlet(plan, b, mem, m, service.Now, f.Log)
	if err != nil {
		return errors.Join(err, closeListener(listener))
	}
	p := &parts{
		plan: plan, service: service, traces: traces, cores: cores.New(os.DirFS("/")), limit: limit, broker: b, metrics: m, outlet: out, memory: mem, log: f.Log,
		histories: &observe.Histories{Now: service.Now}, rates: frames.NewRates(f.Config.Requests.Rate, f.Config.Requests.RatePerAsker),
		requested: requested(f.Config.Requests),
	}
	p.purse = newPurse(f.Config, service, out.members, f.Log)
	p.bursts = p.newBursts()
	p.pipeline = f.pipeline(p, switches)
	return f.run(ctx, p, listener, stop)
}

// listen opens the listener of metrics, health and page, nil where it is turned off.
func (f *Feeder) listen() (net.Listener, error) {
	if f.Config.HTTP.Listen == "" {
		return nil, nil
	}
	return web.Listen(f.Config.HTTP.Listen)
}

func closeListener(l net.Listener) error {
	if l == nil {
		return nil
	}
	return l.Close()
}

// parts are what a feeder is built of. Each is made once, from those above it.
type parts struct {
	plan      Plan
	service   *kinesis.Client
	traces    *traces
	cores     *cores.Watch
	limit     *payloadLimit
	broker    *broker
	metrics   *metrics.Metrics
	outlet    *outlet
	memory    *shared
	histories *observe.Histories
	pipeline  *pipeline.Pipeline
	log       *slog.Logger

	opened   atomic.Bool // the outlet is ready and the streams have begun
	stopping atomic.Bool // the streams end
	moves    moves
	watchdog *watchdog
	seen     atomic.Pointer[sighting]
	rates    *frames.Rates // of requests for frames, however they come
	// requested are the frames on request, and what they and ranges may cost.
	requested *ondemand.Frames
	cameras   cameras
	replays   *replayer
	purse     *purse
	bursts    *bursts.Bursts
	follower  atomic.Pointer[follower] // nil while there is none
}

func (f *Feeder) service(ctx context.Context, plan Plan, m *metrics.Metrics) (*kinesis.Client, error) {
	client, err := kinesis.New(ctx, kinesis.Options{
		Region: plan.Region, Endpoint: f.Config.AWS.Endpoint,
		AccessKey: f.AccessKey, Secret: f.Secret, Logger: f.Log, Observe: m.KinesisRequest,
	})
	if err != nil {
		return nil, Usage(err)
	}
	return client, nil
}

// checkCredentials returns an error if there are no AWS credentials. That they cannot be
// obtained at the moment is only logged: requests try again.
func checkCredentials(ctx context.Context, client *kinesis.Client, log *slog.Logger) error {
	_, err := client.Credentials(ctx)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil, errors.Is(err, source.ErrRefused):
		return err
	}
	log.Warn("there are no AWS credentials yet, trying again", "err", err)
	return nil
}

func (f *Feeder) pipeline(p *parts, switches Switches) *pipeline.Pipeline {
	decoder := Decoder(switches, f.Config)
	decoder.Buffers = new(transform.Buffers)
	if p.memory != nil {
		decoder.Buffers.Shared = p.memory
	}
	return pipeline.New(pipeline.Options{
		Workers:   p.cores.Workers(),
		NewWorker: func() pipeline.Worker { return opencv.NewWorker(decoder) },
		Measure:   opencv.NewMeter(decoder).Measure,
		Buffers:   decoder.Buffers,
		Delivery:  p.outlet.delivery,
		// Garbage that has not been collected yet counts against the budget, too.
		Inflight:  int64(f.Config.Delivery.Inflight) * 100 / (100 + GCPercent),
		Cursors:   p.outlet.cursors,
		SaveEvery: p.outlet.saveEvery,
		Find:      p.outlet.sharing.Find,
		Observers: append([]pipeline.Observer{observe.Metrics(p.metrics, p.service.Now), p.histories, ends{p.bursts}}, p.traces.observers...),
		Now:       p.service.Now,
		InOrder:   p.plan.Config.Delivery.Mode == config.ModeDurable,
		Log:       f.Log,
	})
}

// run serves metrics, health and the page from the beginning to the very end, waits for
// the broker, and runs the pipeline in between.
func (f *Feeder) run(ctx context.Context, p *parts, l net.Listener, stop func(error)) (err error) {
	side := context.WithoutCancel(ctx)
	p.watchdog = newWatchdog(f.Config.HTTP.Ready, p.snapshot, f.Log)
	defer background(side, p.watchdog.watch)()
	defer context.AfterFunc(ctx, func() { p.stopping.Store(true) })()
	p.metrics.Read(p.sources())
	r := Running{NATS: p.broker.local, parts: p}
	if l != nil {
		r.HTTP = "http://" + l.Addr().String()
		handler := p.handler(l)
		defer background(side, func(ctx context.Context) { web.Serve(ctx, l, handler, f.Log) })()
	}
	defer func() { err = errors.Join(err, p.outlet.close()) }()
	defer background(side, func(ctx context.Context) {
		if err := p.broker.check(ctx, p.plan.Needs); err != nil {
			stop(err)
		}
	})()
	b := &builder{
		plan: p.plan, service: p.service, metrics: p.metrics, traces: p.traces, length: f.Length, claim: p.outlet.claim, last: p.outlet.last,
		requested: p.requested,
		moved:     p.moves.located,
		cameras:   &p.cameras,
		purse:     p.purse,
		forget:    p.forget,
		woken:     p.woken,
		interest:  interest{p.outlet.delivery, p.broker.troubles.unknownInterest},
		spread:    func() time.Duration { return poll.SpreadOver(p.pipeline.Count()) },
	}
	streams, follow, err := f.open(ctx, p, b)
	if err != nil {
		return err
	}
	// The weight is no longer adjusted once ctx has ended: the replica then hands over its
	// streams by setting its weight to zero, which a new weight would undo.
	defer background(ctx, func(ctx context.Context) { p.outlet.sharing.weigh(ctx, p.pipeline, p.cores.Workers()) })()
	defer background(side, p.purse.keep)()
	defer background(side, p.bursts.Serve)()
	defer background(side, p.memory.serve)()
	p.replays = newReplayer(p, b)
	defer background(ctx, p.replays.serve)()
	defer background(side, p.answer)()
	if f.Started != nil {
		defer background(side, func(ctx context.Context) { f.Started(ctx, r) })()
	}
	f.Log.Info("running", "version", Version(), "streams", len(f.Config.Streams), "cores", p.cores.Limit(), "http", r.HTTP, "nats", p.broker.url)
	p.opened.Store(true)
	if err := p.pipeline.Run(ctx, streams, follow); err != nil {
		return err
	}
	f.Log.Info("stopped")
	return nil
}

// open waits until the broker is ready, and returns the streams that run here from the
// beginning and what the pipeline is to follow.
func (f *Feeder) open(ctx context.Context, p *parts, b *builder) ([]pipeline.Stream, followFunc, error) {
	if err := checkCredentials(ctx, p.service, f.Log); err != nil {
		return nil, nil, err
	}
	b.learnTime(ctx)
	streams, err := b.named()
	if err != nil {
		return nil, nil, Usage(err)
	}
	follow, err := f.follow(ctx, p, b)
	if err != nil {
		return nil, nil, err
	}
	if err := p.outlet.open(ctx); err != nil {
		return nil, nil, startError(ctx, err)
	}
	for _, s := range streams {
		if err := p.outlet.claim(ctx, s); err != nil {
			return nil, nil, startError(ctx, fmt.Errorf("stream %s: %w", s.Name, err))
		}
	}
	return p.outlet.sharing.begin(streams), p.outlet.sharing.follow(follow), nil
}

// background runs f in a goroutine. Call the returned function to stop it and wait for
// it to return.
func background(ctx context.Context, f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { f(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}
