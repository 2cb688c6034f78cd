package tracing

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// maxArrivals bounds the pictures of which it is remembered how they came. A stream
// holds fewer, unless the service repeats itself.
const maxArrivals = 4096

// A stream traces the frames of one stream. It implements [pipeline.StreamObserver].
type stream struct {
	pipeline.IgnoreStream
	tracer  trace.Tracer
	name    string
	removed func()

	mu      sync.Mutex
	arrived map[int64]arrival // by the picture's own timestamp in nanoseconds
}

// An arrival tells how a picture came.
type arrival struct {
	request   trace.SpanContext
	begin, at time.Time
}

// Stream implements [pipeline.Observer].
func (t *Tracer) Stream(s pipeline.Stream, _ source.Slot) pipeline.StreamObserver {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := &stream{tracer: t.tracer, name: s.Name, arrived: map[int64]arrival{}}
	st.removed = func() { t.remove(st) }
	t.streams[s.Name] = st
	return st
}

// Removed implements [pipeline.StreamObserver].
func (s *stream) Removed() { s.removed() }

func (t *Tracer) remove(s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.streams[s.name] == s {
		delete(t.streams, s.name)
	}
}

// Fetcher returns f with a span for each request, which the frames of the stream link
// to. A stream that is not observed has none.
func (t *Tracer) Fetcher(name string, f poll.Fetcher) poll.Fetcher {
	t.mu.Lock()
	s := t.streams[name]
	t.mu.Unlock()
	if s == nil {
		return f
	}
	return fetcher{f, s}
}

type fetcher struct {
	fetch  poll.Fetcher
	stream *stream
}

// Unwrap returns the fetcher without spans, which may be able to do more.
func (f fetcher) Unwrap() poll.Fetcher { return f.fetch }

// Images implements [poll.Fetcher].
func (f fetcher) Images(ctx context.Context, w poll.Window) iter.Seq2[poll.Image, error] {
	return func(yield func(poll.Image, error) bool) {
		begin := time.Now()
		ctx, span := f.stream.tracer.Start(ctx, "GetImages", trace.WithNewRoot(), trace.WithTimestamp(begin), trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(streamKey(f.stream.name), attribute.Int("cvfeeder.slots", w.Slots()),
				attribute.String("cvfeeder.from", w.Start.String()), attribute.String("cvfeeder.to", w.End.String())))
		pictures := 0
		defer func() {
			span.SetAttributes(attribute.Int("cvfeeder.pictures", pictures))
			span.End()
		}()
		for img, err := range f.fetch.Images(ctx, w) {
			switch {
			case errors.Is(err, poll.ErrEmptyWindow):
			case err != nil && ctx.Err() == nil:
				fail(span, err)
			case img.Data != nil:
				pictures++
				f.stream.note(img.Time, arrival{span.SpanContext(), begin, time.Now()})
			}
			if !yield(img, err) {
				return
			}
		}
	}
}

func (s *stream) note(picture time.Time, a arrival) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.arrived) >= maxArrivals {
		clear(s.arrived)
	}
	s.arrived[picture.UnixNano()] = a
}

// take returns how a picture came, and forgets that and the ones before: frames come in
// order.
func (s *stream) take(picture time.Time) (arrival, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, known := s.arrived[picture.UnixNano()]
	for at := range s.arrived {
		if at <= picture.UnixNano() {
			delete(s.arrived, at)
		}
	}
	return a, known
}

func streamKey(name string) attribute.KeyValue { return attribute.String("cvfeeder.stream", name) }

func outputKey(name string) attribute.KeyValue { return attribute.String("cvfeeder.output", name) }

func fail(span trace.Span, err error) {
	span.RecordError(err)
	span.SetStatus(codes.Error, err.Error())
}
