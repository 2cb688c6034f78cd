package observe

import (
	"context"
	"errors"
	"fmt"
	"image"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/internal/tracing"
	"github.com/cvfeeder/cvfeeder/internal/tracing/tracingtest"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
	"github.com/cvfeeder/cvfeeder/transform"
)

// kind gives every third slot an outcome of its own: published, undecodable, dropped.
func kind(s source.Slot) int { return int(s) / 200 % 3 }

// someDecode is a worker that cannot decode the slots of kind 1.
type someDecode struct{ frame source.Frame }

func (w *someDecode) Decode(f source.Frame, _ *transform.Camera, _ []*transform.Output) error {
	w.frame = f
	if kind(f.Slot) == 1 {
		return &transform.DecodeError{Reason: "truncated", Err: errors.New("cut")}
	}
	return nil
}

func (w *someDecode) Tensor(o *transform.Output) (*transform.Tensor, error) {
	time.Sleep(time.Microsecond) // so that it took some time
	return &transform.Tensor{Stream: w.frame.Stream, Slot: w.frame.Slot, Output: o, Shape: []int{1, 1, 1, 2}, Data: []byte("xx")}, nil
}

func (*someDecode) Luma(source.Frame, *transform.Camera) (*image.Gray, image.Point, error) {
	return nil, image.Point{}, errors.New("no gates")
}

func (*someDecode) KeepLuma(bool)                        {}
func (*someDecode) KeptLuma() (*image.Gray, image.Point) { return nil, image.Point{} }

func (*someDecode) Rest()  {}
func (*someDecode) Close() {}

// someDelivered is a delivery that drops the slots of kind 2.
type someDelivered struct{}

func (someDelivered) Publish(_ context.Context, m publish.Message) error {
	if at, err := time.Parse(time.RFC3339, m.Header[publish.HeaderTime][0]); err != nil || kind(source.SlotAt(at)) != 2 {
		return err
	}
	return &publish.DropError{Reason: publish.DropSlow, Err: errors.New("refused")}
}

func (someDelivered) Gap(context.Context, publish.Gap, []publish.Route) error { return nil }
func (someDelivered) Confirm(context.Context) error                           { return nil }
func (someDelivered) Watched(string) bool                                     { return true }
func (someDelivered) Interest(context.Context, string) (bool, error)          { return true, nil }

// TestObservers runs a pipeline in which slots end in different ways, and looks at what
// metrics, traces and history tell of it.
func TestObservers(t *testing.T) {
	collector := tracingtest.Start(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.HTTP)
	tracer, err := tracing.Start(t.Context(), tracing.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	m, h := metrics.New(metrics.Build{}), &Histories{}
	p := pipeline.New(pipeline.Options{
		Workers: 1, NewWorker: func() pipeline.Worker { return &someDecode{} }, Delivery: someDelivered{}, Inflight: 1 << 20,
		Observers: []pipeline.Observer{tracer, Metrics(m, time.Now), h}, Log: slog.New(slog.DiscardHandler),
	})
	grid, err := source.NewGrid(200 * time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	from := source.SlotAt(time.Now().Add(-time.Minute))
	s := pipeline.Stream{
		Name: "cam", Grid: grid, From: from, To: from.Add(6 * time.Second), Grace: time.Second,
		Routes: []publish.Route{{Output: &transform.Output{Name: "a", Fingerprint: "test"}, Subject: "cam.a"}},
	}
	s.Open = func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
		return &sourcetest.Feed{
			Ledger: l, Stream: s.Name, To: s.To, Fetched: fetched,
			Picture: func(s source.Slot) ([]byte, error) { return fmt.Append(nil, s), nil },
		}
	}
	if err := p.Run(t.Context(), []pipeline.Stream{s}, nil); err != nil {
		t.Fatal(err)
	}
	if err := tracer.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	stats := p.Streams()[0].Stats
	for _, o := range []source.Outcome{source.Published, source.Undecodable, source.Dropped} {
		if stats.Ended[o] != 10 {
			t.Fatalf("%v of 30 slots ended as %v", stats.Ended[o], o)
		}
	}
	checkTraces(t, collector, m)
	checkMetrics(t, m)
	if h.Of("cam") == nil {
		t.Error("there is no history of the stream")
	}
}

// TestInTime: what is delivered within the limit, or found to be unchanged, counts, by the service's clock; what is
// late, lost, asked for or from the past does not.
func TestInTime(t *testing.T) {
	m, now := metrics.New(metrics.Build{}), time.Now()
	seen := Metrics(m, func() time.Time { return now })
	live := seen.Stream(pipeline.Stream{Name: "live"}, 0)
	frame := func(age, trail time.Duration) source.Frame {
		return source.Frame{Slot: source.SlotAt(now.Add(-age - trail)), Trail: trail}
	}
	late := frame(time.Second, 0)
	late.Late = true
	live.Frame(frame(metrics.InTime-time.Second, 0), false).Ended(source.Published, nil)
	live.Frame(frame(time.Second, time.Hour), false).Ended(source.Published, nil)
	live.Frame(frame(metrics.InTime+time.Second, 0), false).Ended(source.Published, nil)
	live.Frame(frame(time.Second, 0), false).Ended(source.Dropped, nil)
	live.Frame(frame(time.Second, 0), true).Ended(source.Published, nil)
	live.Frame(late, false).Ended(source.Published, nil)
	live.Frame(frame(time.Second, 0), false).Ended(source.Unchanged, nil)
	live.Frame(frame(metrics.InTime+time.Second, 0), false).Ended(source.Unchanged, nil)
	if n := m.SlotsInTime("live").Load(); n != 3 {
		t.Errorf("%d slots in time, want 3", n)
	}
	past := seen.Stream(pipeline.Stream{Name: "past", Backfill: true}, 0)
	past.Frame(frame(time.Second, 0), false).Ended(source.Published, nil)
	live.Removed()
	for _, name := range []string{"live", "past"} {
		if n := m.SlotsInTime(name).Load(); n != 0 {
			t.Errorf("%s: %d slots in time", name, n)
		}
	}
}

// TestGated: what gates compared is observed by output, and how long it took.
func TestGated(t *testing.T) {
	m := metrics.New(metrics.Build{})
	frame := Metrics(m, time.Now).Stream(pipeline.Stream{Name: "cam"}, 0).Frame(source.Frame{}, false)
	frame.(pipeline.GateObserver).Gated(time.Millisecond, map[string]float64{"a": 0.03, "b": 0})
	if got := stages(t, m)["gate"]; got != 1 {
		t.Errorf("the gates took time %d times", got)
	}
	if n := testutil.CollectAndCount(m.GateChanged); n != 2 {
		t.Errorf("%d outputs were compared", n)
	}
}

// stages returns how often each stage was observed.
func stages(t *testing.T, m *metrics.Metrics) map[string]uint64 {
	t.Helper()
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for _, f := range families {
		if f.GetName() != "cvfeeder_stage_seconds" {
			continue
		}
		for _, s := range f.GetMetric() {
			counts[s.GetLabel()[0].GetValue()] = s.GetHistogram().GetSampleCount()
		}
	}
	return counts
}

func checkMetrics(t *testing.T, m *metrics.Metrics) {
	t.Helper()
	if n := testutil.ToFloat64(m.PublishErrors.WithLabelValues("slow")); n != 10 {
		t.Errorf("%v publish errors", n)
	}
	if n := testutil.ToFloat64(m.PublishBytes.WithLabelValues("a")); n < 10*100 {
		t.Errorf("%v bytes published", n)
	}
	want := map[string]uint64{"fetch": 30, "gate": 0, "decode": 20, "transform": 20, "publish": 20}
	if got := stages(t, m); !maps.Equal(got, want) {
		t.Errorf("the stages were observed %v times, want %v", got, want)
	}
}

// checkTraces: every frame ends its trace, however its slot ends, and the latency's
// exemplar names one.
func checkTraces(t *testing.T, collector *tracingtest.Receiver, m *metrics.Metrics) {
	t.Helper()
	traces, outcomes := map[string]bool{}, map[string]int{}
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
	for _, o := range []string{"published", "undecodable", "dropped"} {
		if outcomes[o] != 10 {
			t.Errorf("%s: %d traces of 10 frames", o, outcomes[o])
		}
	}
	if id := exemplar(t, m); !traces[id] {
		t.Errorf("the exemplar names the trace %q, which was not exported", id)
	}
}

// exemplar returns the trace of some latency.
func exemplar(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	families, err := m.Gather()
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

func TestSampledTrace(t *testing.T) {
	const id = "0af7651916cd43dd8448eb211c80319c"
	for header, want := range map[string]string{
		"00-" + id + "-b7ad6b7169203331-01": id,
		"00-" + id + "-b7ad6b7169203331-00": "",
		"00-" + id + "-b7ad6b7169203331-03": id, // sampled and random
		"rubbish":                           "",
		"":                                  "",
	} {
		m := publish.Message{Header: map[string][]string{publish.HeaderTraceparent: {header}}}
		if got := sampledTrace(m); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
	if got := sampledTrace(publish.Message{}); got != "" {
		t.Errorf("without the header: %q", got)
	}
}

// TestEachDroppedGapCounts drops a gap on two of three subjects.
func TestEachDroppedGapCounts(t *testing.T) {
	m := metrics.New(metrics.Build{})
	s := Metrics(m, time.Now).Stream(pipeline.Stream{Name: "cam"}, 0)
	drop := &publish.DropError{Reason: publish.DropSlow, Err: errors.New("refused")}
	s.GapTold(publish.Gap{}, errors.Join(drop, drop))
	if n := testutil.ToFloat64(m.PublishErrors.WithLabelValues(publish.DropSlow)); n != 2 {
		t.Errorf("%v publish errors, want one for each message", n)
	}
}

// TestUnheardFramesArePublished: the stages of a frame that nobody listens to.
func TestUnheardFramesArePublished(t *testing.T) {
	m := metrics.New(metrics.Build{})
	s := Metrics(m, time.Now).Stream(pipeline.Stream{Name: "cam"}, 0)
	s.Frame(source.Frame{}, false).Ended(source.Published, nil)
	s.Frame(source.Frame{}, false).Ended(source.Stale, nil)
	s.Frame(source.Frame{}, true).Ended(source.Pending, nil)
	want := map[string]uint64{"fetch": 0, "gate": 0, "decode": 0, "transform": 0, "publish": 1}
	if got := stages(t, m); !maps.Equal(got, want) {
		t.Errorf("the stages were observed %v times, want %v", got, want)
	}
}
