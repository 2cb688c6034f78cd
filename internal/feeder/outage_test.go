package feeder_test

import (
	"context"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const outageConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: ""}
streams:
  - {name: cam-1, interval: 200ms, outputs: [small]}
outputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
`

// TestTenSecondsWithoutBroker: in the mode "live" nothing stale goes out after an
// outage of the broker, and what was dropped is counted.
func TestTenSecondsWithoutBroker(t *testing.T) {
	feedertest.Long(t, "takes half a minute")
	t.Parallel()
	r := feedertest.NewRig(t, kinesistest.Options{Scene: feedertest.Grey{}})
	proxy := feedertest.NewHole(t, r.NATSURL)
	o, log := options(t, outageConfig, r.FakeURL, proxy.URL)
	o.Length = 25 * time.Second
	var last feeder.Running
	var down, up time.Time
	o.Started = func(ctx context.Context, run feeder.Running) {
		last = run
		for _, step := range []struct {
			after time.Duration
			do    func()
		}{
			{7 * time.Second, func() { down = time.Now(); proxy.Stop() }},
			{10 * time.Second, func() { up = time.Now(); _ = proxy.Start() }},
		} {
			select {
			case <-ctx.Done():
				return
			case <-time.After(step.after):
				step.do()
			}
		}
	}
	arrivals := watchAges(t, r.NATSURL)
	if err := feeder.New(o).Run(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	r.Messages()
	st := last.Streams()[0]
	dropped, published := int(st.Ended[source.Dropped]), int(st.Ended[source.Published])
	received := 0
	usual, first := time.Duration(0), time.Duration(-1)
	for _, a := range arrivals() {
		received++
		switch {
		case a.at.Before(down):
			usual = max(usual, a.age)
		case a.at.After(up) && first < 0:
			first = a.age
		}
	}
	t.Logf("%d published, %d dropped; a tensor was at most %v old before the outage, and the first after it %v", published, dropped, usual, first)
	if first < 0 || first > usual+2*time.Second {
		t.Errorf("the first tensor after the outage was %v old, before it at most %v\n%s", first, usual, log.String())
	}
	if published+dropped != 125 || dropped < 40 {
		t.Errorf("%d published and %d dropped of 125", published, dropped)
	}
	// What was on its way when the connection broke may be lost.
	if lost := published - received; lost < 0 || lost > 10 {
		t.Errorf("%d were published, %d received", published, received)
	}
}

// An arrival says when a tensor arrived, and how old it was.
type arrival struct {
	at  time.Time
	age time.Duration
}

// watchAges notes the arrivals of tensors. The returned function returns them once the
// rig has ended its collection.
func watchAges(t *testing.T, url string) (end func() []arrival) {
	t.Helper()
	sub := feedertest.Subscribe(t, url, "cvf.t.>", feedertest.LastSubject)
	done := make(chan []arrival, 1)
	go func() {
		var all []arrival
		for {
			m, err := sub.Next(t.Context())
			if err != nil || m.Subject == feedertest.LastSubject {
				done <- all
				return
			}
			pos, err := publish.ParsePosition(m.Header)
			if err != nil {
				continue
			}
			now := time.Now()
			all = append(all, arrival{now, now.Sub(pos.First.Time())})
		}
	}()
	return func() []arrival { return <-done }
}
