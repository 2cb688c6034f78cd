package tracing

import (
	"context"
	"log/slog"
	"os"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
)

// newExporter returns the exporter that the environment asks for.
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
		log.Warn("OTEL_EXPORTER_OTLP_PROTOCOL is neither http/protobuf nor grpc: traces are sent by http/protobuf", "value", protocol)
	}
	return otlptracehttp.New(ctx)
}

// An exporter logs its failures, and drops the spans that it could not export.
type exporter struct {
	sdktrace.SpanExporter
	log    *slog.Logger
	outage pacing.Outage
	lost   int           // spans since the last line in the log
	ended  chan struct{} // closed by Shutdown
}

func newLoggingExporter(e sdktrace.SpanExporter, log *slog.Logger) *exporter {
	return &exporter{SpanExporter: e, log: log, outage: pacing.Outage{Every: logEvery}, ended: make(chan struct{})}
}

// Shutdown implements [sdktrace.SpanExporter]. The SDK calls it once, when it has
// nothing more to export.
func (e *exporter) Shutdown(ctx context.Context) error {
	defer close(e.ended)
	return e.SpanExporter.Shutdown(ctx)
}

// ExportSpans implements [sdktrace.SpanExporter]. The SDK makes one call at a time.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		e.lost += len(spans)
		if e.outage.Failed() {
			e.log.Warn("traces could not be exported: tensors do not wait for them", "err", err, "lost", e.lost)
			e.lost = 0
		}
		return nil
	}
	if e.outage.Recovered() {
		e.log.Info("traces are exported again", "lost", e.lost)
		e.lost = 0
	}
	return nil
}
