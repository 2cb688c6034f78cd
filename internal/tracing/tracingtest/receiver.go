// Package tracingtest receives OpenTelemetry traces in tests, over OTLP's own wire
// protocols.
//
//	r := tracingtest.Start(t)
//	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.HTTP)
//	// trace something, shut its exporter down, then:
//	spans := r.Spans()
package tracingtest

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// A Receiver keeps the spans that are sent to it.
type Receiver struct {
	collector.UnimplementedTraceServiceServer
	// HTTP and GRPC are the URLs of its endpoints.
	HTTP, GRPC string

	mu    sync.Mutex
	spans []Span
}

// A Span is what a test compares. Its ids are hexadecimal, as in a traceparent. Of its
// attributes there are the strings and integers.
type Span struct {
	Name               string
	Trace, ID, Parent  string
	Kind               string
	Begin, End         uint64 // nanoseconds since the Unix epoch
	Attributes         map[string]string
	Resource           map[string]string
	Links              []string // the spans' ids
	Failed             bool
	Problem, Exception string
}

// Start starts a receiver, which lasts as long as the test.
func Start(t testing.TB) *Receiver {
	t.Helper()
	r := &Receiver{}
	web := httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(web.Close)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rpc := grpc.NewServer()
	collector.RegisterTraceServiceServer(rpc, r)
	served := make(chan error, 1)
	go func() { served <- rpc.Serve(listener) }()
	t.Cleanup(func() {
		rpc.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	r.HTTP, r.GRPC = web.URL, "http://"+listener.Addr().String()
	return r
}

// Spans returns the spans received so far, in the order of their arrival.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Span(nil), r.spans...)
}

// Export implements the gRPC service.
func (r *Receiver) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, of := range req.GetResourceSpans() {
		about := texts(of.GetResource().GetAttributes())
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				r.spans = append(r.spans, span(s, about))
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// serve is the HTTP service.
func (r *Receiver) serve(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	var request collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	if err != nil || req.URL.Path != "/v1/traces" || req.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, "not OTLP", http.StatusBadRequest)
		return
	}
	answer, _ := r.Export(req.Context(), &request)
	w.Header().Set("Content-Type", "application/x-protobuf")
	data, _ := proto.Marshal(answer)
	_, _ = w.Write(data)
}

func span(s *otlp.Span, about map[string]string) Span {
	got := Span{
		Name: s.GetName(), Kind: s.GetKind().String(), Begin: s.GetStartTimeUnixNano(), End: s.GetEndTimeUnixNano(),
		Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
		Attributes: texts(s.GetAttributes()), Resource: about,
		Failed: s.GetStatus().GetCode() == otlp.Status_STATUS_CODE_ERROR, Problem: s.GetStatus().GetMessage(),
	}
	for _, l := range s.GetLinks() {
		got.Links = append(got.Links, hex.EncodeToString(l.GetSpanId()))
	}
	for _, e := range s.GetEvents() {
		got.Exception = texts(e.GetAttributes())["exception.message"]
	}
	return got
}

func texts(attributes []*common.KeyValue) map[string]string {
	all := map[string]string{}
	for _, a := range attributes {
		switch v := a.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			all[a.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			all[a.GetKey()] = strconv.FormatInt(v.IntValue, 10)
		}
	}
	return all
}
