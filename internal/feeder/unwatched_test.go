package feeder_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// TestNobodyListens: no slot is published that nobody has listened to, and while NATS is
// away they are dropped.
func TestNobodyListens(t *testing.T) {
	t.Parallel()
	r := feedertest.NewRig(t, kinesistest.Options{Scene: feedertest.Grey{}})
	nats := natstest.Serve(t, embedded.Options{}) // that of the rig has a listener
	proxy := feedertest.NewHole(t, nats.ClientURL())
	o, log := options(t, readinessConfig, r.FakeURL, proxy.URL, health.Any)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last []source.Stats
	o.Started = func(ctx context.Context, run feeder.Running) {
		defer cancel()
		ended := func(o source.Outcome) (n uint64) {
			for _, s := range run.Streams() {
				n += s.Ended[o]
			}
			return n
		}
		natstest.Eventually(t, "slots that nobody listens to", func() bool { return ended(source.Unwatched) > 20 })
		if last := untilAnswer(ctx, run.HTTP+"/readyz", http.StatusOK, "\nno_listener"); last != "" {
			t.Errorf("never said that nobody listens: %s", last)
		}
		proxy.Stop()
		if last := untilAnswer(ctx, run.HTTP+"/readyz", http.StatusServiceUnavailable, "\nnats_away"); last != "" {
			t.Errorf("ready without NATS: %s", last)
		}
		before := ended(source.Unwatched)
		natstest.Eventually(t, "slots without NATS", func() bool { return ended(source.Dropped) > 20 })
		if after := ended(source.Unwatched); after != before {
			t.Errorf("%d slots are unwatched while NATS is away", after-before)
		}
		for _, s := range run.Streams() {
			last = append(last, s.Stats)
		}
	}
	if err := feeder.New(o).Run(ctx); err != nil && !strings.Contains(err.Error(), "canceled") {
		t.Errorf("%v\n%s", err, log.String())
	}
	for _, st := range last {
		if sum := accounted(st); st.Ended[source.Published] > 0 || sum != st.Expected {
			t.Errorf("published %d, expected %d and accounted for %d", st.Ended[source.Published], st.Expected, sum)
		}
	}
	r.Messages()
}
