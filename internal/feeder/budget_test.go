package feeder_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const limitedConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: "127.0.0.1:0"}
state: %q
limits: {images_per_day: 100000}
streams:
  - {name: cam-1, outputs: [small], limits: {images_per_day: 60, then: stop}}
  - {name: cam-2, outputs: [small], limits: {money_per_month: 0.0006, then: slow}}
outputs:
  small: {preset: none, size: 16x16}
`

// TestLimits: when images may not cost more, nothing is asked for, or a tenth, by the service's
// own record, also after a restart. It is said everywhere, and the ledgers add up.
func TestLimits(t *testing.T) {
	t.Parallel()
	const most = 60 + 50 // a window that is under way is not cut short
	r := feedertest.NewRig(t, kinesistest.Options{Scene: feedertest.Grey{}})
	fake, url := feedertest.ServeFake(t, kinesistest.Options{Streams: kinesistest.Cameras(2), Scene: feedertest.Grey{}})
	dir := t.TempDir()
	asked := func(stream string) uint64 { return uint64(fake.Totals()[stream].Asked) }
	var begun bool
	watch := func(ctx context.Context, run feeder.Running) {
		of := func(stream string) (s metrics.Stream) {
			for _, s = range run.Streams() {
				if s.Name == stream {
					break
				}
			}
			return s
		}
		last := untilAnswer(ctx, run.HTTP+"/readyz", http.StatusOK, "stream cam-1: images may not cost more")
		if last != "" {
			t.Errorf("never said that cam-1 has met its limit: %s", last)
		}
		natstest.Eventually(t, "cam-2 goes on slowly", func() bool {
			return of("cam-2").Ended[source.Skipped] >= 20 && (begun || of("cam-2").Ended[source.Published] > 0)
		})
		before := asked("cam-1")
		skipped := of("cam-1").Ended[source.Skipped]
		natstest.Eventually(t, "slots of cam-1 are skipped", func() bool { return of("cam-1").Ended[source.Skipped] >= skipped+20 })
		if n := asked("cam-1"); n != before || n < 60 || n > most {
			t.Errorf("cam-1 was asked for %d images, and then %d; its limit is 60", before, n)
		}
		if page := feedertest.Get(t, run.HTTP+"/metrics"); !strings.Contains(page, `cvfeeder_budget_used_ratio{stream="cam-1"} 1`) ||
			!strings.Contains(page, "cvfeeder_budget_all_used_ratio 0.00") || !strings.Contains(page, `cvfeeder_not_ready{reason="budget_spent"} 1`) {
			t.Error("the metrics do not say so")
		}
		for _, s := range run.Streams() {
			if accounted(s.Stats) != s.Expected {
				t.Errorf("%s does not add up: %+v", s.Name, s.Stats)
			}
		}
		begun = true
	}
	for range 2 {
		o, log := options(t, limitedConfig, url, r.NATSURL, dir)
		ctx, cancel := context.WithCancel(t.Context())
		o.Started = func(ctx context.Context, run feeder.Running) {
			defer cancel()
			watch(ctx, run)
		}
		if err := feeder.New(o).Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%v\n%s", err, log.String())
		}
		cancel()
		if n := asked("cam-1"); n > most {
			t.Errorf("cam-1 was asked for %d images", n)
		}
	}
	r.Messages()
}
