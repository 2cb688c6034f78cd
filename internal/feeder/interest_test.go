package feeder_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const subscribedConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
delivery: {mode: %s}
http: {listen: "127.0.0.1:0"}
streams:
  - {name: cam-1, outputs: [small], poll: subscribed, linger: 1s}
  - {name: cam-2, outputs: [small], poll: subscribed}
  - {name: cam-3, outputs: [small], poll: request}
outputs:
  small: {preset: none, size: 16x16}
`

// TestReadsWhileSomebodyListens: by the service's own record, nothing is asked of a camera
// before somebody listens to it, nor after that, and the ledger adds up. The process is
// ready all the time. What is requested comes all the same.
func TestReadsWhileSomebodyListens(t *testing.T) {
	for _, mode := range []string{"live", "ring", "durable"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			fake, url := feedertest.ServeFake(t, kinesistest.Options{Streams: kinesistest.Cameras(3), Scene: feedertest.Grey{}})
			natsURL := feedertest.ServeNATS(t)
			o, log := options(t, subscribedConfig, url, natsURL, mode)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o.Started = func(_ context.Context, run feeder.Running) {
				defer cancel()
				v := &visitor{t: t, fake: fake, run: run}
				v.connect(natsURL)
				v.wait("cam-1", source.Unwatched, 10)
				v.asked("before", 0, "cam-1", "cam-2", "cam-3")
				leave := v.listen(mode)
				v.wait("cam-1", source.Published, 10)
				leave()
				natstest.Eventually(t, "cam-1 rests", func() bool { return v.stream("cam-1").Resting })
				after := fake.Totals()["cam-1"].Asked
				v.wait("cam-1", source.Unwatched, v.stream("cam-1").Ended[source.Unwatched]+10)
				v.asked("after", after, "cam-1")
				v.asked("after", 0, "cam-2", "cam-3")
				if ready := feedertest.Get(t, run.HTTP+"/readyz"); !strings.HasPrefix(ready, "ready\nresting: ") {
					t.Errorf("/readyz: %s", ready)
				}
				v.request("cam-3")
				for _, s := range run.Streams() {
					if accounted(s.Stats) != s.Expected {
						t.Errorf("%s does not add up: %+v", s.Name, s.Stats)
					}
				}
			}
			if err := feeder.New(o).Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%v\n%s", err, log.String())
			}
		})
	}
}

// A visitor listens for a while.
type visitor struct {
	t    *testing.T
	fake *kinesistest.Server
	run  feeder.Running
	nc   *nats.Conn
}

func (v *visitor) connect(url string) {
	var err error
	if v.nc, err = nats.Connect(url); err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(v.nc.Close)
}

// stream returns the state of a stream, the zero value before it has begun.
func (v *visitor) stream(name string) (found metrics.Stream) {
	for _, s := range v.run.Streams() {
		if s.Name == name {
			found = s
		}
	}
	return found
}

func (v *visitor) wait(name string, o source.Outcome, n uint64) {
	natstest.Eventually(v.t, name+" has slots that are "+o.String(), func() bool { return v.stream(name).Ended[o] >= n })
}

// asked checks how many images the service was asked for.
func (v *visitor) asked(when string, want int, names ...string) {
	for _, name := range names {
		if got := v.fake.Totals()[name].Asked; got != want {
			v.t.Errorf("%s: %d images were asked of %s, want %d", when, got, name, want)
		}
	}
}

// listen listens to cam-1 as readers of the mode do.
func (v *visitor) listen(mode string) (leave func()) {
	if mode == "live" {
		sub, err := v.nc.SubscribeSync("cvf.t.cam-1.*")
		if err != nil {
			v.t.Fatal(err)
		}
		return func() { _ = sub.Unsubscribe() }
	}
	js, err := jetstream.New(v.nc)
	if err != nil {
		v.t.Fatal(err)
	}
	c, err := js.CreateConsumer(v.t.Context(), "cvfeeder", jetstream.ConsumerConfig{
		FilterSubject: "cvf.t.cam-1.*", InactiveThreshold: time.Minute, // nothing is pulled, and a busy machine takes longer than the default
	})
	if err != nil {
		v.t.Fatal(err)
	}
	return func() {
		if err := js.DeleteConsumer(v.t.Context(), "cvfeeder", c.CachedInfo().Name); err != nil {
			v.t.Error(err)
		}
	}
}

// request asks for a frame of a camera.
func (v *visitor) request(name string) {
	at := time.Now().Add(-10 * time.Second).Format(time.RFC3339)
	m, err := v.nc.RequestWithContext(v.t.Context(), "cvf.svc.frame", fmt.Appendf(nil, `{"stream": %q, "time": %q, "output": "small"}`, name, at))
	if err != nil || m.Header.Get("Cvf-Stream") != name {
		v.t.Errorf("a request for a frame of %s: %v, %v", name, m, err)
	}
	if v.fake.Totals()[name].Asked == 0 {
		v.t.Errorf("the frame of %s came from nowhere", name)
	}
}
