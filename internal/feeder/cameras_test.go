package feeder

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/cvfeeder/cvfeeder/internal/budget"
	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish/publishtest"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/transform/opencv"
)

// TestLookBack reads a part of a camera's past more finely than the camera is read, and checks
// the bill by what the service has been asked for and has handed out.
func TestLookBack(t *testing.T) {
	var mu sync.Mutex
	var asked, made uint64
	_, url := feedertest.ServeFake(t, kinesistest.Options{
		Streams: []kinesistest.Stream{{Name: "cam-1"}}, Scene: feedertest.Grey{},
		Observe: func(r kinesistest.Request) {
			mu.Lock()
			defer mu.Unlock()
			asked += uint64(r.Asked)
			made += uint64(len(r.Images))
		},
	})
	client, err := kinesis.New(t.Context(), kinesis.Options{
		Region: kinesistest.Region, Endpoint: url, AccessKey: kinesistest.AccessKey, Secret: kinesistest.SecretKey,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("test", []byte("streams: [{name: cam-1, interval: 1s, outputs: [a]}]\noutputs: {a: {size: 64x36}}"), feedertest.NoVariables)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := NewPlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p, m, out := &parts{}, metrics.New(metrics.Build{}), &publishtest.Memory{}
	b := &builder{plan: plan, service: client, metrics: m, traces: startTraces(t.Context(), slog.New(slog.DiscardHandler)), claim: unclaimed, cameras: &p.cameras, purse: testPurse(t, cfg), forget: p.forget, moved: p.moves.located}
	if _, err := b.named(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.lookBack("cam-2", 0, 0, 1000, source.ForBurst); !errors.Is(err, pipeline.ErrUnknown) {
		t.Errorf("a camera that there is not: %v", err)
	}
	to := source.SlotAt(time.Now().Add(-20 * time.Second))
	s, err := p.lookBack("cam-1", 200*time.Millisecond, to.Add(-15*time.Second), to, source.ForBurst)
	if err != nil {
		t.Fatal(err)
	}
	lines := pipeline.New(pipeline.Options{
		Workers: 1, NewWorker: func() pipeline.Worker { return opencv.NewWorker(Decoder(Switches{}, cfg)) },
		Delivery: out, Inflight: 1 << 20, Log: slog.New(slog.DiscardHandler),
	})
	err = lines.Run(t.Context(), nil, func(ctx context.Context, _ pipeline.Set) {
		o := lines.Begin(pipeline.Excursion{Stream: s})
		if err := o.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Error(err)
	}
	var got, want []string
	for _, m := range out.Received("cvf.t.cam-1.a") {
		got = append(got, m.Header["Cvf-Time"][0])
	}
	for at := s.Grid.Ceil(s.From); at < s.To; at = s.Grid.Step(at, 1) {
		want = append(want, at.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	m.Read(metrics.Sources{Streams: func() []metrics.Stream { return []metrics.Stream{{Name: "cam-1"}} }})
	bill := func(name string) source.Bill { return billOf(t, m, name) }
	mu.Lock()
	defer mu.Unlock()
	if b := bill("cvfeeder_images_asked_total"); b.Sum() != asked || b[source.ForBurst] != 75 || b[source.ForLive] != 0 || b[source.ForOverlap] == 0 {
		t.Errorf("asked for %v, the service counts %d", b, asked)
	}
	if b := bill("cvfeeder_images_paid_total"); b.Sum() != made || b[source.ForBurst] != 75 {
		t.Errorf("got %v, the service has handed out %d", b, made)
	}
}

// testPurse returns the purse of a config.
func testPurse(t *testing.T, cfg *config.Config) *purse {
	t.Helper()
	return newPurse(cfg, &setClock{time.Now}, func() int { return 1 }, slog.New(slog.DiscardHandler))
}

// A setClock says what it is set to, for certain.
type setClock struct{ now func() time.Time }

func (c *setClock) Now() time.Time  { return c.now() }
func (c *setClock) TimeKnown() bool { return true }

// billOf returns a metric by cause.
func billOf(t *testing.T, m *metrics.Metrics, name string) (bill source.Bill) {
	t.Helper()
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == name })
	if i < 0 {
		t.Fatalf("there is no %s", name)
	}
	for _, series := range families[i].GetMetric() {
		for _, c := range source.Causes() {
			if series.GetLabel()[0].GetValue() == c.String() {
				bill[c] = uint64(series.GetCounter().GetValue())
			}
		}
	}
	return bill
}

// asks is a fetcher that counts what it is asked for.
type asks struct{ n int }

func (a *asks) Images(context.Context, poll.Window) iter.Seq2[poll.Image, error] {
	a.n++
	return func(func(poll.Image, error) bool) {}
}

// TestGuard: while images may not cost more, nothing is asked for, and the error says until when.
func TestGuard(t *testing.T) {
	cfg, err := config.Parse("test", []byte("streams: [{name: cam-1, outputs: [a], limits: {images_per_day: 10}}]\noutputs: {a: {}}"), feedertest.NoVariables)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 2, 23, 0, 0, 0, time.UTC)
	p := newPurse(cfg, &setClock{func() time.Time { return now }}, func() int { return 1 }, slog.New(slog.DiscardHandler))
	p.paces(cfg.Streams[0])
	inner := &asks{}
	guarded := p.guard("cam-1", inner)
	failed := func() (failed error) {
		for _, err := range guarded.Images(t.Context(), poll.Window{}) {
			failed = err
		}
		return failed
	}
	if err := failed(); err != nil || inner.n != 1 {
		t.Errorf("at first: %v, %d requests", err, inner.n)
	}
	p.Spend("cam-1", 10)
	var spent *budget.Error
	if err := failed(); !errors.As(err, &spent) || inner.n != 1 {
		t.Errorf("with the limit met: %v, %d requests", err, inner.n)
	}
	now = now.Add(time.Hour)
	if err := failed(); err != nil || inner.n != 2 {
		t.Errorf("the next day: %v, %d requests", err, inner.n)
	}
}
