package feeder_test

import (
	"context"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/monitoring"
	"github.com/cvfeeder/cvfeeder/internal/monitoring/promtest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const monitoredConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: embedded}
http: {listen: "127.0.0.1:0"}
streams:
  - {name: cam-1, interval: 500ms, outputs: [small]}
  - {name: cam-2, interval: 500ms, outputs: [small]}
  - {name: absent, interval: 500ms, outputs: [small]}
outputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
`

// patience is how long a test waits for what takes seconds on an idle machine.
const patience = 3 * time.Minute

// TestOutageAlerts: while the service has an outage the alert of stale streams fires,
// in a real Prometheus with the rules that are delivered, but six times as fast; and it
// ends with the outage. It fires for a stream that does not exist, too, whose freshness
// only grows.
func TestOutageAlerts(t *testing.T) {
	feedertest.Long(t, "takes most of a minute")
	t.Parallel()
	text, err := os.ReadFile("../../docker/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := monitoring.Faster(string(text), 6)
	if err != nil {
		t.Fatal(err)
	}
	var outage atomic.Bool
	r := feedertest.NewRig(t, kinesistest.Options{Scene: feedertest.Grey{}, Intercept: func(kinesistest.Request) *kinesistest.ErrorResponse {
		if outage.Load() {
			return kinesistest.Unavailable()
		}
		return nil
	}})
	o, _ := options(t, monitoredConfig, r.FakeURL)
	o.Listen = "127.0.0.1:0"
	p := promtest.Start(t, promtest.Options{Target: background(t, o), Rules: rules})

	promtest.Until(t, patience, "both streams are fresh", func() bool {
		fresh := p.Query(t, `cvfeeder_freshness_seconds{stream!="absent"} < 8`)
		return len(fresh) == 2 && len(p.Query(t, `cvfeeder_slots_total{outcome="unwatched"} > 0`)) == 2 && len(p.Query(t, `ALERTS{stream=~"cam-.*"}`)) == 0
	})
	begin := time.Now()
	outage.Store(true)
	const firing = `ALERTS{alertname="CvfeederStreamStale",alertstate="firing",severity="critical"}`
	promtest.Until(t, patience, firing, func() bool { return len(p.Query(t, firing)) == 3 })
	t.Logf("fired after %v", time.Since(begin).Round(time.Second))
	if down := p.Query(t, `ALERTS{alertname=~"CvfeederDown|CvfeederAbsent|CvfeederBrokerAway"}`); len(down) > 0 {
		t.Errorf("an outage of Kinesis is not one of cvfeeder or NATS: %v", down)
	}
	begin = time.Now()
	outage.Store(false)
	promtest.Until(t, patience, "the alert has ended", func() bool {
		return len(p.Query(t, `ALERTS{alertname="CvfeederStreamStale",stream!="absent"}`)) == 0
	})
	t.Logf("over after %v", time.Since(begin).Round(time.Second))
	if len(p.Query(t, firing)) != 1 || len(p.Query(t, `deriv(cvfeeder_freshness_seconds{stream="absent"}[10s]) > 0.9`)) != 1 {
		t.Error("the stream that does not exist has no alert, or its freshness does not grow")
	}
}

// background runs a feeder until the test ends, and returns the address of its
// metrics.
func background(t *testing.T, o feeder.Options) string {
	t.Helper()
	address := make(chan string, 1)
	o.Started = func(ctx context.Context, r feeder.Running) {
		address <- strings.TrimPrefix(r.HTTP, "http://")
		<-ctx.Done()
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- feeder.New(o).Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case a := <-address:
		return a
	case err := <-ended:
		ended <- err
		t.Fatal("the feeder has ended")
	case <-time.After(patience):
		t.Fatal("the feeder did not start")
	}
	return ""
}
