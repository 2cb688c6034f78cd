package tracing

import (
	"context"
	"maps"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// A Frame is the trace of one frame. nil is none.
type Frame struct {
	tracer trace.Tracer
	span   trace.Span
	stream string
}

// Frame begins the trace of a frame, at the request that brought it. The caller ends
// it.
func (s *Stream) Frame(f source.Frame) *Frame {
	if s == nil {
		return nil
	}
	came, known := s.take(f.Capture)
	if !known {
		came.begin = time.Now()
	}
	ctx, span := s.tracer.Start(context.Background(), "frame", trace.WithNewRoot(), trace.WithTimestamp(came.begin),
		trace.WithAttributes(streamKey(s.name), attribute.String("cvfeeder.slot", f.Slot.String())))
	if known && span.IsRecording() {
		_, fetch := s.tracer.Start(ctx, "fetch", trace.WithTimestamp(came.begin), trace.WithLinks(trace.Link{SpanContext: came.request}),
			trace.WithAttributes(streamKey(s.name), attribute.Int("cvfeeder.bytes", len(f.Data))))
		fetch.End(trace.WithTimestamp(came.at))
	}
	return &Frame{tracer: s.tracer, span: span, stream: s.name}
}

// End ends the trace, with how the frame's slot ended and why.
func (f *Frame) End(outcome source.Outcome, why error) {
	if f == nil {
		return
	}
	f.span.SetAttributes(attribute.String("cvfeeder.outcome", outcome.String()))
	switch {
	case why != nil:
		fail(f.span, why)
	case outcome != source.Published && outcome != source.Pending:
		f.span.SetStatus(codes.Error, outcome.String())
	}
	f.span.End()
}

// Sampled returns the id of the trace where it is sampled, otherwise "".
func (f *Frame) Sampled() string {
	if f == nil || !f.span.SpanContext().IsSampled() {
		return ""
	}
	return f.span.SpanContext().TraceID().String()
}

// stage begins the span of a stage, which the function that it returns ends.
func (f *Frame) stage(name string, kind trace.SpanKind, attributes ...attribute.KeyValue) (context.Context, func(error, ...attribute.KeyValue)) {
	ctx, span := f.tracer.Start(trace.ContextWithSpan(context.Background(), f.span), name,
		trace.WithSpanKind(kind), trace.WithAttributes(append(attributes, streamKey(f.stream))...))
	return ctx, func(err error, attributes ...attribute.KeyValue) {
		span.SetAttributes(attributes...)
		if err != nil {
			fail(span, err)
		}
		span.End()
	}
}

// A Worker turns frames into tensors, as that of internal/pipeline does.
type Worker interface {
	Decode(f source.Frame, outs []*transform.Output) error
	Tensor(o *transform.Output) (*transform.Tensor, error)
	Close()
}

// Worker returns w with a span for each of its steps. Only w itself is to be closed.
func (f *Frame) Worker(w Worker) Worker {
	if f == nil || !f.span.IsRecording() {
		return w
	}
	return worker{w, f}
}

type worker struct {
	Worker
	frame *Frame
}

// Decode implements [Worker].
func (w worker) Decode(f source.Frame, outs []*transform.Output) error {
	_, end := w.frame.stage("decode", trace.SpanKindInternal, attribute.Int("cvfeeder.bytes", len(f.Data)))
	err := w.Worker.Decode(f, outs)
	end(err)
	return err
}

// Tensor implements [Worker].
func (w worker) Tensor(o *transform.Output) (*transform.Tensor, error) {
	_, end := w.frame.stage("transform", trace.SpanKindInternal, outputKey(o.Name))
	t, err := w.Worker.Tensor(o)
	if err != nil {
		end(err)
		return t, err
	}
	end(nil, attribute.Int("cvfeeder.bytes", len(t.Data)))
	return t, nil
}

// Publish begins the span of an output's message, and returns the message with its
// context, and what ends the span.
func (f *Frame) Publish(output string, m publish.Message) (traced publish.Message, end func(error)) {
	if f == nil {
		return m, func(error) {}
	}
	ctx, done := f.stage("publish", trace.SpanKindProducer, outputKey(output),
		attribute.String("messaging.system", "nats"), attribute.String("messaging.operation.type", "send"),
		attribute.String("messaging.destination.name", m.Subject), attribute.Int("messaging.message.body.size", len(m.Data)))
	m.Header = maps.Clone(m.Header)
	propagation.TraceContext{}.Inject(ctx, header(m.Header))
	return m, func(err error) { done(err) }
}

// header is the carrier of a span's context: of what W3C's has, the header that we
// publish.
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
