// Package tracing traces each frame through the stages, with OpenTelemetry. It is off
// unless the standard environment variables ask for it:
//
//	OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 cvfeeder run -c cvfeeder.yaml
//
// Each frame has a trace. Its root, the span "frame", lasts from the request that fetched
// the frame until the frame's slot has ended. Below it are "fetch", "decode", and for each
// output "transform" and "publish". One request fetches many frames, so it has a trace of
// its own, "GetImages", to which each "fetch" links. A message carries the context of its
// "publish", so that the consumer's span can be a child of it.
//
//	t, err := tracing.Start(ctx, tracing.Options{Log: log})
//	if err == nil && t != nil { // nil where nobody asks for traces
//		defer t.Shutdown(ctx)
//		options.Observers = append(options.Observers, t)
//		fetcher = t.Fetcher("front-door", fetcher)
//	}
package tracing

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/grpclog"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
)

// logEvery is the least time between two lines about spans that cannot be exported.
const logEvery = time.Minute

// Options are what the environment does not tell.
type Options struct {
	// Version of the program.
	Version string
	// Log gets what is wrong with the environment, and with exporting.
	Log *slog.Logger
}

// A Tracer makes spans and exports them. It implements [pipeline.Observer].
type Tracer struct {
	provider *sdktrace.TracerProvider
	exporter *exporter
	tracer   trace.Tracer

	mu      sync.Mutex
	streams map[string]*stream
}

// Start returns a tracer that exports over OTLP, or nil unless the environment asks for
// one, by OTEL_TRACES_EXPORTER or by an endpoint. Spans are exported in the background.
// Those that the collector does not take in time are dropped, which is logged once a
// minute.
func Start(ctx context.Context, o Options) (*Tracer, error) {
	if !wanted(o.Log) {
		return nil, nil
	}
	otlp, err := newExporter(ctx, o.Log)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	// What cannot be found out about this machine or process is left out.
	about, _ := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "cvfeeder"), attribute.String("service.version", o.Version),
	), resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
	t := &Tracer{exporter: newLoggingExporter(otlp, o.Log), streams: map[string]*stream{}}
	t.provider = sdktrace.NewTracerProvider(sdktrace.WithBatcher(t.exporter), sdktrace.WithResource(about))
	t.tracer = t.provider.Tracer("github.com/cvfeeder/cvfeeder")
	return t, nil
}

// LogTo has OpenTelemetry and gRPC log to log. Their loggers are those of the whole
// process, so it is called before anything else of this package.
func LogTo(log *slog.Logger) {
	failures := &pacing.Outage{Every: logEvery}
	otel.SetLogger(logr.FromSlogHandler(log.With("from", "opentelemetry").Handler()))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		if failures.Failed() {
			log.Warn("OpenTelemetry reports an error", "err", err)
		}
	}))
	lines := slog.NewLogLogger(log.With("from", "grpc").Handler(), slog.LevelWarn).Writer()
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, lines))
}

// Shutdown exports the spans that are left, until ctx ends.
func (t *Tracer) Shutdown(ctx context.Context) error {
	err := t.provider.Shutdown(ctx)
	if err != nil {
		// The SDK continues to export in the background. This drops what it still has.
		_ = t.exporter.SpanExporter.Shutdown(ctx)
		err = fmt.Errorf("traces: %w", err)
	}
	<-t.exporter.ended
	return err
}
