// Package feeder puts a config to work: it builds the parts that the config asks for
// (the client of Kinesis, the connection to NATS, the delivery, the pipeline, the page),
// connects them, runs them, and ends them in the right order. It is the one place where
// the adapters meet.
//
//	err := feeder.New(feeder.Options{Config: cfg, Log: log}).Run(ctx)
//	os.Exit(feeder.ExitCode(err))
package feeder

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
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/opencv"
)

// maxDataConnections is how many NATS connections carry tensors at most. A single one
// can write several gigabytes a second; having more keeps one that stalls from holding
// up all streams.
const maxDataConnections = 4

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
type Feeder struct {
	cfg               *config.Config
	log               *slog.Logger
	accessKey, secret string
	listen            string
	length            time.Duration
	file              *config.File
	hangup            <-chan os.Signal
	started           func(context.Context, Running)
}

// New returns a feeder, which does nothing before [Feeder.Run].
func New(o Options) *Feeder {
	return &Feeder{
		cfg: o.Config, log: o.Log, accessKey: o.AccessKey, secret: o.Secret, listen: o.Listen, length: o.Length,
		file: o.File, hangup: o.Hangup, started: o.Started,
	}
}

// Running is the view of a feeder whose streams run.
type Running struct {
	// NATS and HTTP are the URLs of the embedded NATS server and of the status page, ""
	// where there is none.
	NATS, HTTP string

	pipeline *pipeline.Pipeline
	metrics  *metrics.Metrics
	conn     *dial.Conn
}

// Streams returns the state of each stream now. It may be called after the end, too,
// and then returns the final state.
func (r Running) Streams() []metrics.Stream { return r.pipeline.Streams() }

// Run runs until ctx ends, all streams have reached their end, or an error makes it
// pointless to go on. [ExitCode] returns the exit code for the error.
func (f *Feeder) Run(ctx context.Context) (err error) {
	asked := ctx
	defer func() {
		// Being stopped before everything is ready is not a failure.
		if asked.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil
		}
	}()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	client, err := kinesis.New(ctx, kinesis.Options{
		Region: Region(f.cfg), Endpoint: f.cfg.AWS.Endpoint,
		AccessKey: f.accessKey, Secret: f.secret, Logger: f.log,
	})
	if errors.Is(err, source.ErrRefused) {
		return Refused(err)
	}
	if err != nil {
		return Usage(err)
	}
	tracer, endTraces := f.startTraces(ctx)
	defer endTraces()
	outputs := Outputs(f.cfg)
	size, which, err := LargestMessage(f.cfg, outputs)
	if err != nil {
		return Usage(err)
	}
	more := 0
	if tracer != nil {
		more += publish.TraceOverhead
	}
	if f.cfg.Delivery.Mode.Stored() {
		more += deliver.StoredOverhead
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
			err = Refused(denied)
		case e != nil:
			f.log.Warn("the last messages may not have arrived", "err", e)
		}
	}()

	var at atomic.Pointer[pipeline.Pipeline] // nil until NATS is ready
	var shared atomic.Pointer[group]
	r := Running{conn: conn}
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
	r.metrics = metrics.New(metrics.Build{Version: Version(), OpenCV: opencv.Engine()}, sources)
	if server != nil {
		r.NATS = server.ClientURL()
	}
	// Metrics and health are served from the beginning to the very end.
	side := context.WithoutCancel(ctx)
	if f.cfg.HTTP.Listen != "" {
		listener, err := web.Listen(f.cfg.HTTP.Listen)
		if err != nil {
			return err
		}
		r.HTTP = "http://" + listener.Addr().String()
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
		return Usage(fmt.Errorf("delivery.subject: %w", err))
	}
	b := &builder{client: client, outputs: outputs, subject: subject, metrics: r.metrics, length: f.length}
	streams, err := b.named(f.cfg.Streams)
	if err != nil {
		return Usage(err)
	}
	decoder, err := f.decoder()
	if err != nil {
		return err
	}
	opts := f.options(r.metrics, decoder)
	opts.Tracer = tracer
	if err := f.follow(ctx, b, r.metrics, f.fitting(conn, &most, more), &opts); err != nil {
		return Refused(err)
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
	// The weight is no longer adjusted once ctx has ended: the replica then hands over its
	// streams by setting its weight to zero, which a new weight would undo.
	defer beside(ctx, func(ctx context.Context) { b.group.weigh(ctx, r.pipeline) })()

	defer beside(side, func(ctx context.Context) { f.serve(ctx, r) })()
	if f.started != nil {
		defer beside(side, func(ctx context.Context) { f.started(ctx, r) })()
	}
	f.log.Info("running", "version", Version(), "streams", len(f.cfg.Streams), "http", r.HTTP, "nats", natsAt(f.cfg, r))
	if err := r.pipeline.Run(ctx); err != nil {
		return Refused(err)
	}
	f.log.Info("stopped")
	return nil
}

// beside runs f in the background. Call the returned function to stop it and wait for
// it to return.
func beside(ctx context.Context, f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { f(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

func natsAt(cfg *config.Config, r Running) string {
	if r.NATS != "" {
		return r.NATS
	}
	return dial.Redact(cfg.NATS.URL)
}

// connect connects to NATS. It returns the server where that is embedded, else nil.
func (f *Feeder) connect(onConnect func(int), onDenied func(error)) (*dial.Conn, *embedded.Server, error) {
	opts := NATSOptions(f.cfg)
	opts.Logger, opts.OnConnect, opts.OnDenied = f.log, onConnect, onDenied
	var embeddedServer *embedded.Server
	if opts.URL == config.Embedded {
		server, err := embedded.Start(embedded.Options{Listen: f.listen, StoreDir: f.storeDir(), Logger: f.log})
		if err != nil {
			return nil, nil, err
		}
		opts.Server = server
		embeddedServer = server
	}
	conn, err := dial.Dial(opts)
	if err != nil {
		if embeddedServer != nil {
			embeddedServer.Shutdown()
		}
		return nil, nil, Usage(err)
	}
	return conn, embeddedServer, nil
}

// NATSOptions returns how a config connects to NATS, except for what depends on the
// feeder at work: logger, callbacks and an embedded server.
func NATSOptions(cfg *config.Config) dial.Options {
	return dial.Options{
		URL: cfg.NATS.URL, Credentials: cfg.NATS.Credentials, TLS: dial.TLS(cfg.NATS.TLS),
		DataConnections: dataConnections(),
		Chunk:           cfg.Delivery.Oversize == config.OversizeChunk,
	}
}

func connections(conn *dial.Conn) []metrics.Connection {
	states := conn.States()
	all := make([]metrics.Connection, len(states))
	for i, s := range states {
		all[i] = metrics.Connection{Name: s.Name, Connected: s.Connected, Reconnects: s.Reconnects}
	}
	return all
}

// notReady returns the reasons why frames cannot flow. The pipeline is nil while it
// waits for NATS.
func notReady(conn *dial.Conn, p *pipeline.Pipeline) []string {
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

// Outputs returns the outputs of a config by name, with their fingerprints.
func Outputs(cfg *config.Config) map[string]*transform.Output {
	outputs := cfg.Transforms()
	for _, o := range outputs {
		o.Fingerprint = o.Spec.Fingerprint(opencv.Engine())
	}
	return outputs
}

func (f *Feeder) options(m *metrics.Metrics, decoder opencv.Options) pipeline.Options {
	decoder.Buffers = new(transform.Buffers)
	return pipeline.Options{
		Workers:   runtime.GOMAXPROCS(0),
		NewWorker: func() pipeline.Worker { return opencv.NewWorker(decoder) },
		// Garbage that has not been collected yet counts against the budget, too.
		Inflight: int64(f.cfg.Delivery.Inflight) * 100 / (100 + GCPercent),
		Metrics:  m,
		Log:      f.log,
	}
}
