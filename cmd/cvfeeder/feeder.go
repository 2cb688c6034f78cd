package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/internal/web"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/natspub"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/opencv"
)

// maxDataConnections is how many connections carry tensors. One writes several
// gigabytes a second; more of them keep a stalled one from holding up all streams.
const maxDataConnections = 4

// closeTime bounds the end of each part after the pipeline has drained.
const closeTime = 5 * time.Second

// A feeder is a config at work: the one place where the adapters meet.
type feeder struct {
	cfg *config.Config
	log *slog.Logger
	// accessKey and secret are used instead of the SDK's own chain, where set.
	accessKey, secret string
	// listen is where an embedded NATS server listens; default 127.0.0.1:4222.
	listen string
	// length, unless 0, is the time after which the streams end.
	length time.Duration
	// file, where set, is where the config came from, and may change to another one;
	// hangup tells to look at once.
	file   *config.File
	hangup <-chan os.Signal
	// watch, where set, runs beside the pipeline, until it ends.
	watch func(context.Context, running)
}

// running is what there is to see of a feeder at work.
type running struct {
	pipeline *pipeline.Pipeline
	metrics  *metrics.Metrics
	conn     *natspub.Conn
	// nats and http are the URLs of the embedded server and of metrics and health,
	// "" where there is none.
	nats, http string
}

// run runs until ctx ends, the streams are done, or going on makes no sense.
func (f *feeder) run(ctx context.Context) (err error) {
	asked := ctx
	defer func() {
		// To end before all is ready is no failure.
		if asked.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil
		}
	}()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	client, err := kinesis.New(ctx, kinesis.Options{
		Region: region(f.cfg), Endpoint: f.cfg.AWS.Endpoint,
		AccessKey: f.accessKey, Secret: f.secret, Logger: f.log,
	})
	if errors.Is(err, source.ErrRefused) {
		return exitCode(err)
	}
	if err != nil {
		return usage(err)
	}
	tracer, endTraces := f.startTraces(ctx)
	defer endTraces()
	outputs := transforms(f.cfg)
	size, which, err := largest(f.cfg, outputs)
	if err != nil {
		return usage(err)
	}
	more := 0
	if tracer != nil {
		more += publish.TraceOverhead
	}
	if f.cfg.Delivery.Mode != modeLive {
		more += natspub.StoredOverhead
	}
	var most atomic.Pointer[largestOf]
	most.Store(&largestOf{size + more, which})
	conn, server, err := f.connect(f.fits(&most, stop), stop)
	if err != nil {
		return err
	}
	if server != nil {
		defer server.Shutdown()
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		e := conn.Close(closing)
		switch denied := conn.Denied(); {
		case err != nil:
		case denied != nil:
			err = exitCode(denied)
		case e != nil:
			f.log.Warn("the last messages may not have arrived", "err", e)
		}
	}()

	var at atomic.Pointer[pipeline.Pipeline] // nil until NATS is ready
	var shared atomic.Pointer[group]
	r := running{conn: conn}
	sources := metrics.Sources{
		Streams:       func() []metrics.Stream { return at.Load().Streams() },
		Connections:   func() []metrics.Connection { return connections(conn) },
		InflightBytes: func() int64 { return at.Load().InflightBytes() },
		MatsOpen:      opencv.OpenMats,
		BusyRatio:     func() float64 { return at.Load().Busy() },
	}
	if f.cfg.Cluster.Group != "" {
		sources.Group = func() (members, streams int) { return shared.Load().counts() }
	}
	r.metrics = metrics.New(metrics.Build{Version: version, OpenCV: opencv.Engine()}, sources)
	if server != nil {
		r.nats = server.ClientURL()
	}
	// Metrics and health can be read from the beginning to the very end.
	side := context.WithoutCancel(ctx)
	if f.cfg.HTTP.Listen != "" {
		listener, err := web.Listen(f.cfg.HTTP.Listen)
		if err != nil {
			return err
		}
		r.http = "http://" + listener.Addr().String()
		handler := f.handler(listener, r, &at)
		defer beside(side, func(ctx context.Context) { web.Serve(ctx, listener, handler, f.log) })()
	}
	defer beside(side, func(ctx context.Context) {
		if err := f.checkNATS(ctx, conn); err != nil {
			stop(err)
		}
	})()

	subject, err := publish.ParseSubject(f.cfg.Delivery.Subject)
	if err != nil {
		return usage(fmt.Errorf("delivery.subject: %w", err))
	}
	b := &builder{client: client, outputs: outputs, subject: subject, metrics: r.metrics, length: f.length}
	streams, err := b.named(f.cfg.Streams)
	if err != nil {
		return usage(err)
	}
	opts := f.options(r.metrics)
	opts.Tracer = tracer
	if err := f.follow(ctx, b, r.metrics, f.fitting(conn, &most, more), &opts); err != nil {
		return exitCode(err)
	}
	end, err := f.deliver(ctx, conn, b, &opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	for _, s := range streams {
		if err := b.check(ctx, s); err != nil {
			return startError(ctx, err)
		}
	}
	shared.Store(b.group)
	r.pipeline = pipeline.New(opts, b.group.want(streams))
	at.Store(r.pipeline)
	// Not while it hands its streams over, which it does by having no weight.
	defer beside(ctx, func(ctx context.Context) { b.group.weigh(ctx, r.pipeline) })()

	defer beside(side, func(ctx context.Context) { f.serve(ctx, r) })()
	if f.watch != nil {
		defer beside(side, func(ctx context.Context) { f.watch(ctx, r) })()
	}
	f.log.Info("running", "version", version, "streams", len(f.cfg.Streams), "http", r.http, "nats", natsAt(f.cfg, r))
	if err := r.pipeline.Run(ctx); err != nil {
		return exitCode(err)
	}
	f.log.Info("stopped")
	return nil
}

// beside runs f until the function that it returns is called, which waits for its
// end.
func beside(ctx context.Context, f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { f(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

func natsAt(cfg *config.Config, r running) string {
	if r.nats != "" {
		return r.nats
	}
	return natspub.Redact(cfg.NATS.URL)
}

// exitCode gives an error the exit code of its class.
func exitCode(err error) error {
	if errors.Is(err, source.ErrRefused) || errors.Is(err, natspub.ErrRefused) {
		return &exitError{exitRefused, err}
	}
	return err
}

// connect connects to NATS, which may be a server of our own.
func (f *feeder) connect(onConnect func(int), onDenied func(error)) (*natspub.Conn, *natspub.Server, error) {
	opts := natspub.Options{
		URL: f.cfg.NATS.URL, Credentials: f.cfg.NATS.Credentials, TLS: natspub.TLS(f.cfg.NATS.TLS),
		DataConnections: dataConnections(),
		Chunk:           f.cfg.Delivery.Oversize == "chunk", Logger: f.log, OnConnect: onConnect, OnDenied: onDenied,
	}
	if opts.URL == config.Embedded {
		server, err := natspub.StartServer(natspub.ServerOptions{Listen: f.listen, StoreDir: f.storeDir(), Logger: f.log})
		if err != nil {
			return nil, nil, err
		}
		opts.Server = server
	}
	conn, err := natspub.Dial(opts)
	if err != nil {
		if opts.Server != nil {
			opts.Server.Shutdown()
		}
		return nil, nil, usage(err)
	}
	return conn, opts.Server, nil
}

func connections(conn *natspub.Conn) []metrics.Connection {
	states := conn.States()
	all := make([]metrics.Connection, len(states))
	for i, s := range states {
		all[i] = metrics.Connection{Name: s.Name, Connected: s.Connected, Reconnects: s.Reconnects}
	}
	return all
}

// notReady returns what is not ready. The pipeline is nil while it waits for NATS.
func notReady(conn *natspub.Conn, p *pipeline.Pipeline) []string {
	var why []string
	for _, s := range conn.States() {
		if !s.Connected {
			why = append(why, fmt.Sprintf("NATS: connection %s is not up", s.Name))
		}
	}
	switch waiting := conn.Waiting(); {
	case waiting != "":
		why = append(why, "NATS: "+waiting)
	case p == nil && why == nil:
		return []string{"NATS: the stream is not ready"}
	}
	return append(why, p.NotReady()...)
}

// transforms returns the config's outputs with their fingerprints.
func transforms(cfg *config.Config) map[string]*transform.Output {
	outputs := cfg.Transforms()
	for _, o := range outputs {
		o.Fingerprint = o.Spec.Fingerprint(opencv.Engine())
	}
	return outputs
}

func (f *feeder) options(m *metrics.Metrics) pipeline.Options {
	buffers := new(transform.Buffers)
	return pipeline.Options{
		Workers:   runtime.GOMAXPROCS(0),
		NewWorker: func() pipeline.Worker { return opencv.NewWorker(opencv.Options{Buffers: buffers}) },
		// What the collector lets lie about before it runs is within the budget, too.
		Inflight: int64(f.cfg.Delivery.Inflight) * 100 / (100 + gcPercent),
		Metrics:  m,
		Log:      f.log,
	}
}
