// Package tracing tells OpenTelemetry how frames went through the stages. It is off
// unless the standard environment variables ask for it:
//
//	OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 cvfeeder run -c cvfeeder.yaml
//
// A frame has a trace: a span "frame" from the request that brought it until its slot
// ended, and below it "fetch", "decode", and for each output "transform" and "publish".
// One request brings many frames, so it has a trace of its own, "GetImages", to which
// each "fetch" links. A message carries the context of its "publish", for the
// consumer's span to be the child of.
//
//	t, err := tracing.Start(ctx, tracing.Options{Log: log})
//	defer t.Shutdown(ctx)
//	stream := t.Stream("front-door")
//	fetcher = stream.Fetcher(fetcher)
//	// for each frame of the fetcher:
//	f := stream.Frame(frame)
//	worker = f.Worker(worker)
//	message, done := f.Publish("detector", message)
//	done(publisher.Publish(ctx, message))
//	f.End(source.Published, nil)
//
// Where tracing is off, Start returns nil, whose methods, like those of what they
// return, do nothing and cost nothing.
package tracing

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/grpclog"
)

// logAgain is how often at most it is logged that spans cannot be exported.
const logAgain = time.Minute

// Options are what the environment does not say.
type Options struct {
	// Version of the program.
	Version string
	// Log is told what is wrong with the environment, and with exporting.
	Log *slog.Logger
}

// A Tracer makes spans and exports them. nil makes none.
type Tracer struct {
	provider *sdktrace.TracerProvider
	exporter *logged
	tracer   trace.Tracer
}

// Start returns a tracer that exports over OTLP, nil where the environment does not ask
// for one: by OTEL_TRACES_EXPORTER or by an endpoint. Exporting takes place beside the
// work: what an exporter does not take in time is dropped, and logged once a minute.
func Start(ctx context.Context, o Options) (*Tracer, error) {
	if !wanted(o.Log) {
		return nil, nil
	}
	exporter, err := newExporter(ctx, o.Log)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	// What cannot be told of this machine or process is left out.
	about, _ := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "cvfeeder"), attribute.String("service.version", o.Version),
	), resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
	t := &Tracer{exporter: &logged{SpanExporter: exporter, log: o.Log, ended: make(chan struct{})}}
	t.provider = sdktrace.NewTracerProvider(sdktrace.WithBatcher(t.exporter), sdktrace.WithResource(about))
	t.tracer = t.provider.Tracer("github.com/cvfeeder/cvfeeder")
	return t, nil
}

// LogTo makes log that of OpenTelemetry and gRPC, whose loggers belong to the process.
// It is called before anything else of this package.
func LogTo(log *slog.Logger) {
	seldom := &rate.Sometimes{First: 1, Interval: logAgain}
	otel.SetLogger(logr.FromSlogHandler(log.With("from", "opentelemetry").Handler()))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		seldom.Do(func() { log.Warn("OpenTelemetry reports an error", "err", err) })
	}))
	lines := slog.NewLogLogger(log.With("from", "grpc").Handler(), slog.LevelWarn).Writer()
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, lines))
}

// Shutdown exports what is left, while ctx lasts.
func (t *Tracer) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	err := t.provider.Shutdown(ctx)
	if err != nil {
		// The SDK goes on to export in the background. What it still has is given up.
		_ = t.exporter.SpanExporter.Shutdown(ctx)
		err = fmt.Errorf("traces: %w", err)
	}
	<-t.exporter.ended
	return err
}

// wanted tells whether the environment asks for traces. What it cannot have is logged
// and passed over, as OpenTelemetry's specification has it.
func wanted(log *slog.Logger) bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	switch exporter := os.Getenv("OTEL_TRACES_EXPORTER"); exporter {
	case "otlp":
		return true
	case "none":
		return false
	case "":
		return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
	default:
		log.Warn("there are no traces: OTEL_TRACES_EXPORTER is not understood, use otlp or none", "value", exporter)
		return false
	}
}

// checkEndpoint returns an error where a collector cannot be meant. OpenTelemetry
// would ask another one.
func checkEndpoint() error {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		value := os.Getenv(name)
		if u, err := url.Parse(value); value != "" && (err != nil || u.Scheme == "" || u.Opaque != "") {
			return fmt.Errorf("%s is no URL like http://collector:4318", name) // which may hold a password
		}
	}
	return nil
}

func newExporter(ctx context.Context, log *slog.Logger) (sdktrace.SpanExporter, error) {
	if err := checkEndpoint(); err != nil {
		return nil, err
	}
	protocol := os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	if protocol == "" {
		protocol = os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	switch protocol {
	case "grpc":
		return otlptracegrpc.New(ctx)
	case "", "http/protobuf":
	default:
		log.Warn("OTEL_EXPORTER_OTLP_PROTOCOL is not understood, use http/protobuf or grpc: traces go by http/protobuf", "value", protocol)
	}
	return otlptracehttp.New(ctx)
}

// logged is an exporter whose failures are logged, when they begin and once a minute,
// and when they are over.
type logged struct {
	sdktrace.SpanExporter
	log   *slog.Logger
	lost  int           // spans since it was logged last
	told  time.Time     // zero while all is well
	ended chan struct{} // closed by Shutdown
}

// Shutdown implements [sdktrace.SpanExporter]. The SDK calls it once, when it has
// nothing more to export.
func (l *logged) Shutdown(ctx context.Context) error {
	defer close(l.ended)
	return l.SpanExporter.Shutdown(ctx)
}

// ExportSpans implements [sdktrace.SpanExporter]. The SDK makes one call at a time.
func (l *logged) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := l.SpanExporter.ExportSpans(ctx, spans)
	switch now := time.Now(); {
	case err == nil && !l.told.IsZero():
		l.log.Info("traces are exported again", "lost", l.lost)
		l.lost, l.told = 0, time.Time{}
	case err != nil:
		l.lost += len(spans)
		if now.Sub(l.told) >= logAgain {
			l.log.Warn("traces could not be exported: tensors do not wait for them", "err", err, "lost", l.lost)
			l.lost, l.told = 0, now
		}
	}
	return nil
}
