package feeder_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const cameraClockConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: "127.0.0.1:0"}
streams:
  - {name: cam-1, interval: 200ms, selector: producer, freshness: 20s, outputs: [small]}
  - {name: cam-2, interval: 200ms, selector: producer, freshness: 20s, outputs: [small]}
outputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
`

// value returns a value of a scrape, -1 if there is none.
func value(scrape, series string) float64 {
	_, rest, found := strings.Cut(scrape, "\n"+series+" ")
	line, _, _ := strings.Cut(rest, "\n")
	v, err := strconv.ParseFloat(line, 64)
	if !found || err != nil {
		return -1
	}
	return v
}

// TestCameraClocks runs streams by their cameras' own clocks, of which one is an hour behind
// and one five minutes ahead: nothing is lost, their tensors are no older than they are, and
// the user is told.
func TestCameraClocks(t *testing.T) {
	t.Parallel()
	off := map[string]time.Duration{"cam-1": time.Hour, "cam-2": -5 * time.Minute}
	streams := kinesistest.Cameras(2)
	for i := range streams {
		streams[i].Clock = []kinesistest.ClockSetting{{At: time.Unix(0, 0), Behind: off[streams[i].Name]}}
	}
	r := feedertest.NewRig(t, kinesistest.Options{Scene: feedertest.Grey{}, Streams: streams})
	o, log := options(t, cameraClockConfig, r.FakeURL, r.NATSURL)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	scrape := ""
	o.Started = func(ctx context.Context, run feeder.Running) {
		defer cancel()
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		published := func(name string) float64 {
			return value(scrape, fmt.Sprintf(`cvfeeder_slots_total{outcome="published",stream=%q}`, name))
		}
		for published("cam-1") < 20 || published("cam-2") < 20 {
			select {
			case <-ctx.Done():
				t.Errorf("not enough slots are published:\n%s", scrape)
				return
			case <-tick.C:
			}
			scrape = feedertest.Get(t, run.HTTP+"/metrics")
		}
		if last := untilAnswer(ctx, run.HTTP+"/readyz", http.StatusOK, "ready"); last != "" {
			t.Errorf("not ready: %s", last)
		}
	}
	if err := feeder.New(o).Run(ctx); err != nil {
		t.Errorf("%v\n%s", err, log.String())
	}
	r.Messages()
	for name, behind := range off {
		if v := value(scrape, fmt.Sprintf(`cvfeeder_producer_offset_seconds{stream=%q}`, name)); v != behind.Seconds() {
			t.Errorf("%s: offset %v s", name, v)
		}
		if v := value(scrape, fmt.Sprintf(`cvfeeder_freshness_seconds{stream=%q}`, name)); v < 0 || v > 10 {
			t.Errorf("%s: freshness %v s", name, v)
		}
		for _, outcome := range []string{"stale", "no_media"} {
			if v := value(scrape, fmt.Sprintf(`cvfeeder_slots_total{outcome=%q,stream=%q}`, outcome, name)); v != 0 {
				t.Errorf("%s: %v slots ended as %s", name, v, outcome)
			}
		}
	}
	all := value(scrape, `cvfeeder_latency_seconds_count{output="small"}`)
	if short := value(scrape, `cvfeeder_latency_seconds_bucket{output="small",le="20"}`); all < 40 || short != all {
		t.Errorf("latencies: %v of %v are shorter than 20 s", short, all)
	}
	for _, want := range []string{"camera's clock is behind", "camera's clock is ahead"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.String())
		}
	}
}
