package feeder_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/tracing/tracingtest"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// TestEveryFrameIsTraced has the collector see each tensor's way, and each message tell
// the span that published it.
func TestEveryFrameIsTraced(t *testing.T) {
	feedertest.Long(t, "runs a feeder for some seconds")
	collector := tracingtest.Start(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.HTTP)
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100000")
	r := runFor(t, 3*time.Second, kinesistest.Options{})
	spans := map[string]tracingtest.Span{}
	stages := map[string]map[string]int{} // of each trace
	for _, s := range collector.Spans() {
		spans[s.ID] = s
		if stages[s.Trace] == nil {
			stages[s.Trace] = map[string]int{}
		}
		stages[s.Trace][s.Name]++
	}
	tensors := 0
	for _, m := range r.messages {
		if strings.HasPrefix(m.Subject, publish.GapPrefix) {
			continue
		}
		e := checkTensor(t, m)
		tensors++
		_, id, _ := strings.Cut(strings.TrimPrefix(e.Traceparent, "00-"), "-")
		id, _, _ = strings.Cut(id, "-")
		span := spans[id]
		if span.Name != "publish" || span.Attributes["messaging.destination.name"] != m.Subject || !strings.Contains(e.Traceparent, span.Trace) {
			t.Fatalf("%s has traceparent %q, of %+v", m.Subject, e.Traceparent, span)
		}
		frame := spans[span.Parent]
		if frame.Name != "frame" || frame.Attributes["cvfeeder.slot"] != m.Header[publish.HeaderTime][0] || frame.Attributes["cvfeeder.outcome"] != "published" {
			t.Errorf("%s of %v has the trace of %+v", m.Subject, e.Time, frame)
		}
		n := stages[span.Trace]
		outputs := map[string]int{"cam-1": 3, "cam-2": 2}[e.Stream]
		if n["frame"] != 1 || n["fetch"] != 1 || n["decode"] != 1 || n["transform"] != outputs || n["publish"] != outputs {
			t.Errorf("%s of %v has the spans %v", m.Subject, e.Time, n)
		}
	}
	if tensors == 0 {
		t.Error("no tensors")
	}
	// All of it is a few lines about the whole.
	if n := strings.Count(r.log, "\n"); n == 0 || n > 20 {
		t.Errorf("%d tensors, and %d lines in the log:\n%s", tensors, n, r.log)
	}
}
