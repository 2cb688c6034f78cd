package tracing_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/goleak"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/internal/tracing"
	"github.com/cvfeeder/cvfeeder/internal/tracing/tracingtest"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/transform"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const slot = source.Slot(1767323045200)

// camera answers with one picture, then fails.
type camera struct{}

var errThrottled = errors.New("throttled")

func (camera) Images(_ context.Context, w poll.Window) iter.Seq2[poll.Image, error] {
	return func(yield func(poll.Image, error) bool) {
		if yield(poll.Image{Time: w.Start.Time(), Data: []byte("picture")}, nil) {
			yield(poll.Image{}, errThrottled)
		}
	}
}

// A logged is a log that is written while the test reads it.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func start(t *testing.T, log *logged) *tracing.Tracer {
	t.Helper()
	tracer, err := tracing.Start(t.Context(), tracing.Options{Version: "v1", Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return tracer
}

// frame takes a frame through all stages, and returns the message of its output, which
// cannot be made where it is named "bad".
func frame(t *testing.T, tracer *tracing.Tracer, output string) publish.Message {
	t.Helper()
	stream := tracer.Stream(pipeline.Stream{Name: "front-door"}, slot)
	defer stream.Removed()
	var f pipeline.FrameObserver
	for img, err := range tracer.Fetcher("front-door", camera{}).Images(t.Context(), poll.Window{Start: slot, End: slot, Interval: time.Second}) {
		if err != nil {
			continue
		}
		f = stream.Frame(source.Frame{Stream: "front-door", Slot: slot, Capture: img.Time, Data: img.Data}, false)
	}
	f.Decoded(time.Millisecond, nil)
	out := &transform.Output{Name: output}
	if output == "bad" {
		err := errors.New("no such size")
		f.Transformed(out, nil, time.Millisecond, err)
		f.Ended(source.Undecodable, err)
		return publish.Message{}
	}
	tensor := &transform.Tensor{Output: out, Data: make([]byte, 12)}
	f.Transformed(out, tensor, time.Millisecond, nil)
	m := f.Publishing(output, publish.Message{Subject: "cvf.t.front-door.detector", Header: map[string][]string{"A": {"b"}}, Data: tensor.Data})
	f.Published(output, m, time.Millisecond, nil)
	f.Ended(source.Published, nil)
	return m
}

func shutDown(t *testing.T, tracer *tracing.Tracer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := tracer.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func TestFrameIsATrace(t *testing.T) {
	for _, protocol := range []string{"http/protobuf", "grpc", "unknown"} {
		t.Run(protocol, func(t *testing.T) {
			r := tracingtest.Start(t)
			endpoint := r.HTTP
			if protocol == "grpc" {
				endpoint = r.GRPC
			}
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
			var log logged
			tracer := start(t, &log)
			m := frame(t, tracer, "detector")
			frame(t, tracer, "bad")
			shutDown(t, tracer)
			if warned := strings.Contains(log.String(), "neither http/protobuf nor grpc"); warned != (protocol == "unknown") {
				t.Errorf("log: %s", &log)
			}

			spans := r.Spans()
			good, bad := tree(spans, spans[0]), tree(spans, last(spans))
			if diff := cmp.Diff([]string{
				"frame SPAN_KIND_INTERNAL outcome=published",
				"  fetch SPAN_KIND_INTERNAL bytes=7 links=1",
				"  decode SPAN_KIND_INTERNAL bytes=7",
				"  transform SPAN_KIND_INTERNAL output=detector bytes=12",
				"  publish SPAN_KIND_PRODUCER output=detector to cvf.t.front-door.detector",
			}, good); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{
				"frame SPAN_KIND_INTERNAL outcome=undecodable failed: no such size",
				"  fetch SPAN_KIND_INTERNAL bytes=7 links=1",
				"  decode SPAN_KIND_INTERNAL bytes=7",
				"  transform SPAN_KIND_INTERNAL output=bad failed: no such size",
			}, bad); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			request := named(spans, "GetImages")
			if request.Problem != errThrottled.Error() || request.Exception != errThrottled.Error() || request.Attributes["cvfeeder.pictures"] != "1" || request.Parent != "" {
				t.Errorf("the request: %+v", request)
			}
			if fetch := named(spans, "fetch"); fetch.Links[0] != request.ID || fetch.Trace == request.Trace {
				t.Errorf("fetch %+v does not link to %+v", fetch, request)
			}
			for _, s := range spans {
				if s.Resource["service.name"] != "cvfeeder" || s.Resource["service.version"] != "v1" || s.Resource["deployment.environment.name"] != "test" {
					t.Errorf("resource: %v", s.Resource)
				}
				if s.Begin == 0 || s.End < s.Begin {
					t.Errorf("%s lasts from %d to %d", s.Name, s.Begin, s.End)
				}
			}
			published := named(spans, "publish")
			if got, want := m.Header["traceparent"], []string{"00-" + published.Trace + "-" + published.ID + "-01"}; !cmp.Equal(got, want) {
				t.Errorf("traceparent %q, want %q", got, want)
			}
			if n := publish.HeaderSize(m.Header) - publish.HeaderSize(map[string][]string{"A": {"b"}}); n != publish.TraceOverhead {
				t.Errorf("the header takes %d bytes, not the %d that sizes are checked with", n, publish.TraceOverhead)
			}
		})
	}
}

// TestConsumerJoins has a consumer with a tracer of its own, as any is.
func TestConsumerJoins(t *testing.T) {
	r := tracingtest.Start(t)
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.HTTP)
	tracer := start(t, &logged{})
	m := frame(t, tracer, "detector")
	shutDown(t, tracer)

	exporter, err := otlptracehttp.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	consumer := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
	carrier := propagation.MapCarrier{"traceparent": m.Header[publish.HeaderTraceparent][0]}
	_, span := consumer.Tracer("model").Start(propagation.TraceContext{}.Extract(t.Context(), carrier), "infer")
	span.End()
	if err := consumer.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := r.Spans()
	if infer, published := named(spans, "infer"), named(spans, "publish"); infer.Trace != published.Trace || infer.Parent != published.ID {
		t.Errorf("%+v is no child of %+v", infer, published)
	}
}

func TestSamplerOfTheEnvironment(t *testing.T) {
	r := tracingtest.Start(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.HTTP)
	t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
	t.Setenv("OTEL_TRACES_SAMPLER_ARG", "0")
	tracer := start(t, &logged{})
	m := frame(t, tracer, "detector")
	shutDown(t, tracer)
	if spans := r.Spans(); len(spans) > 0 {
		t.Errorf("%d spans", len(spans))
	}
	// The consumer is told not to sample either.
	if got := m.Header["traceparent"]; len(got) != 1 || !strings.HasSuffix(got[0], "-00") {
		t.Errorf("traceparent %q", got)
	}
}

func TestEndpointsAreURLs(t *testing.T) {
	for _, endpoint := range []string{"collector:4317", "10.0.0.1:4317", "collector", "http://a b", "me:secret@collector:4318"} {
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
		_, err := tracing.Start(t.Context(), tracing.Options{Log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), "is not a URL such as http://collector:4318") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

// TestOffByDefault: without a tracer there is nothing that a frame could cost.
func TestOffByDefault(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"by default":    {},
		"by none":       {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
		"disabled":      {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
		"not supported": {"OTEL_TRACES_EXPORTER": "zipkin"},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range env {
				t.Setenv(k, v)
			}
			var log logged
			tracer := start(t, &log)
			if tracer != nil {
				t.Fatal("it is on")
			}
			if got, want := strings.Contains(log.String(), "neither otlp nor none"), name == "not supported"; got != want {
				t.Errorf("log: %s", &log)
			}
		})
	}
}

// TestUnreachable: a collector that is away or hangs delays nothing.
func TestUnreachable(t *testing.T) {
	away, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = away.Close()
	release := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer hangs.Close()
	defer close(release)
	for name, endpoint := range map[string]string{"away": "http://" + away.Addr().String(), "hangs": hangs.URL} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
			t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100")
			t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", "200")
			t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
			t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
			var log logged
			tracer := start(t, &log)
			begin := time.Now()
			for range 2000 {
				frame(t, tracer, "detector")
			}
			if d := time.Since(begin); d > 10*time.Second {
				t.Errorf("2000 frames took %v", d)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			begin = time.Now()
			_ = tracer.Shutdown(ctx)
			if d := time.Since(begin); d > 10*time.Second {
				t.Errorf("the end took %v", d)
			}
			if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "traces could not be exported") {
				t.Errorf("%d lines in the log:\n%s", n, &log)
			}
		})
	}
}

func BenchmarkFrame(b *testing.B) {
	m := publish.Message{Header: map[string][]string{}}
	b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", tracingtest.Start(b).HTTP)
	tracer, err := tracing.Start(b.Context(), tracing.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	stream := tracer.Stream(pipeline.Stream{Name: "a"}, slot)
	for b.Loop() {
		f := stream.Frame(source.Frame{}, false)
		f.Decoded(time.Millisecond, nil)
		f.Published("detector", f.Publishing("detector", m), time.Millisecond, nil)
		f.Ended(source.Published, nil)
	}
	_ = tracer.Shutdown(b.Context())
}

func named(spans []tracingtest.Span, name string) tracingtest.Span {
	for _, s := range spans {
		if s.Name == name {
			return s
		}
	}
	return tracingtest.Span{}
}

func last(spans []tracingtest.Span) tracingtest.Span { return spans[len(spans)-1] }

// tree shows the trace of a span, its root first.
func tree(spans []tracingtest.Span, of tracingtest.Span) []string {
	var lines []string
	for _, s := range spans {
		if s.Trace != of.Trace {
			continue
		}
		line := s.Name + " " + s.Kind
		for _, key := range []string{"outcome", "output", "bytes"} {
			if v := s.Attributes["cvfeeder."+key]; v != "" {
				line += " " + key + "=" + v
			}
		}
		if v := s.Attributes["messaging.destination.name"]; v != "" {
			line += " to " + v
		}
		if len(s.Links) > 0 {
			line += " links=1"
		}
		if s.Failed {
			line += " failed: " + s.Problem
		}
		if s.Parent == "" {
			lines = append([]string{line}, lines...)
			continue
		}
		lines = append(lines, "  "+line)
	}
	return lines
}
