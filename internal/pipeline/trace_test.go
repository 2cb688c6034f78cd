package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/tracing"
	"github.com/cvfeeder/cvfeeder/internal/tracing/tracingtest"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
)

// TestEveryFrameEndsItsTrace, however its slot ends.
func TestEveryFrameEndsItsTrace(t *testing.T) {
	collector := tracingtest.Start(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.HTTP)
	tracer, err := tracing.Start(t.Context(), tracing.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	kind := func(s source.Slot) int { return int(s) / 200 % 3 }
	r := &rig{bad: func(s source.Slot) bool { return kind(s) == 1 }}
	r.refuse = func(m publish.Message) error {
		if at, err := time.Parse(time.RFC3339, m.Header[publish.HeaderTime][0]); err != nil || kind(source.SlotAt(at)) != 2 {
			return err
		}
		return &publish.DropError{Reason: publish.DropSlow, Err: refused}
	}
	r.build(t, 2, 2*time.Second, func(o *Options, _ []Stream) { o.Tracer = tracer })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := tracer.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}

	traces, outcomes := map[string]bool{}, map[string]uint64{}
	for _, s := range collector.Spans() {
		switch s.Name {
		case "frame":
			traces[s.Trace] = true
			outcome := s.Attributes["cvfeeder.outcome"]
			outcomes[outcome]++
			if s.Failed != (outcome != "published") {
				t.Errorf("%s, failed: %v", outcome, s.Failed)
			}
		case "publish":
			if s.Failed && s.Exception == "" {
				t.Errorf("the publication failed without an error: %+v", s)
			}
		}
	}
	want := map[string]uint64{}
	for _, s := range r.Streams() {
		for _, o := range []source.Outcome{source.Published, source.Undecodable, source.Dropped} {
			want[o.String()] += s.Ended[o]
		}
	}
	for outcome, n := range want {
		if outcomes[outcome] != n || n == 0 {
			t.Errorf("%s: %d traces of %d frames", outcome, outcomes[outcome], n)
		}
	}
	if id := exemplar(t, r); !traces[id] {
		t.Errorf("the exemplar names the trace %q, which was not exported", id)
	}
}

// exemplar returns the trace of some latency.
func exemplar(t *testing.T, r *rig) string {
	t.Helper()
	families, err := r.opts.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "cvfeeder_latency_seconds" {
			continue
		}
		for _, bucket := range f.GetMetric()[0].GetHistogram().GetBucket() {
			for _, label := range bucket.GetExemplar().GetLabel() {
				return label.GetValue()
			}
		}
	}
	return ""
}
