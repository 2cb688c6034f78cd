package tracing

import (
	"context"
	"maps"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// A frame is the trace of one frame. It implements [pipeline.FrameObserver].
type frame struct {
	tracer trace.Tracer
	root   trace.Span
	stream string
	bytes  int // of the picture
	// publishing is the span of the message that is being published.
	publishing trace.Span
}

// Frame implements [pipeline.StreamObserver]: it begins the trace of a frame at the
// request that brought it. Frames that somebody asked for have no trace: they come out
// of order.
func (s *stream) Frame(f source.Frame, requested bool) pipeline.FrameObserver {
	if requested {
		return nil
	}
	came, known := s.take(f.Capture)
	if !known {
		came.begin = time.Now()
	}
	ctx, root := s.tracer.Start(context.Background(), "frame", trace.WithNewRoot(), trace.WithTimestamp(came.begin),
		trace.WithAttributes(streamKey(s.name), attribute.String("cvfeeder.slot", f.Slot.String())))
	if known && root.IsRecording() {
		_, fetch := s.tracer.Start(ctx, "fetch", trace.WithTimestamp(came.begin), trace.WithLinks(trace.Link{SpanContext: came.request}),
			trace.WithAttributes(streamKey(s.name), attribute.Int("cvfeeder.bytes", len(f.Data))))
		fetch.End(trace.WithTimestamp(came.at))
	}
	return &frame{tracer: s.tracer, root: root, stream: s.name, bytes: len(f.Data)}
}

// Decoded implements [pipeline.FrameObserver].
func (f *frame) Decoded(took time.Duration, err error) {
	f.stage("decode", took, err, attribute.Int("cvfeeder.bytes", f.bytes))
}

// Transformed implements [pipeline.FrameObserver].
func (f *frame) Transformed(o *transform.Output, t *transform.Tensor, took time.Duration, err error) {
	if err != nil {
		f.stage("transform", took, err, outputKey(o.Name))
		return
	}
	f.stage("transform", took, nil, outputKey(o.Name), attribute.Int("cvfeeder.bytes", len(t.Data)))
}

// stage makes the span of a stage that has just ended.
func (f *frame) stage(name string, took time.Duration, err error, attributes ...attribute.KeyValue) {
	if !f.root.IsRecording() {
		return
	}
	now := time.Now()
	_, span := f.tracer.Start(f.context(), name, trace.WithTimestamp(now.Add(-took)), trace.WithAttributes(append(attributes, streamKey(f.stream))...))
	if err != nil {
		fail(span, err)
	}
	span.End(trace.WithTimestamp(now))
}

func (f *frame) context() context.Context {
	return trace.ContextWithSpan(context.Background(), f.root)
}

// Publishing implements [pipeline.FrameObserver]: the message gets the context of its
// span, so that the consumer's can be a child of it.
func (f *frame) Publishing(output string, m publish.Message) publish.Message {
	var ctx context.Context
	ctx, f.publishing = f.tracer.Start(f.context(), "publish", trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		outputKey(output), streamKey(f.stream),
		attribute.String("messaging.system", "nats"), attribute.String("messaging.operation.type", "send"),
		attribute.String("messaging.destination.name", m.Subject), attribute.Int("messaging.message.body.size", len(m.Data))))
	m.Header = maps.Clone(m.Header)
	propagation.TraceContext{}.Inject(ctx, header(m.Header))
	return m
}

// Published implements [pipeline.FrameObserver].
func (f *frame) Published(_ string, _ publish.Message, _ time.Duration, err error) {
	if err != nil {
		fail(f.publishing, err)
	}
	f.publishing.End()
}

// Ended implements [pipeline.FrameObserver]: it ends the trace.
func (f *frame) Ended(outcome source.Outcome, why error) {
	f.root.SetAttributes(attribute.String("cvfeeder.outcome", outcome.String()))
	switch {
	case why != nil:
		fail(f.root, why)
	case outcome.Lost():
		f.root.SetStatus(codes.Error, outcome.String())
	}
	f.root.End()
}

// header is the carrier of a span's context: of what W3C Trace Context has, the header
// that we publish.
type header map[string][]string

// Get implements [propagation.TextMapCarrier].
func (h header) Get(key string) string {
	if values := h[key]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// Set implements [propagation.TextMapCarrier]. A span that begins a trace has no state.
func (h header) Set(key, value string) {
	if key == publish.HeaderTraceparent {
		h[key] = []string{value}
	}
}

// Keys implements [propagation.TextMapCarrier].
func (h header) Keys() []string { return []string{publish.HeaderTraceparent} }
