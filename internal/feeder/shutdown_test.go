package feeder_test

import (
	"context"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
)

const shutdownConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: ""}
delivery: {mode: %s, stream: {retention: limits}}
streams:
  - {name: cam-1, interval: 200ms, outputs: [small]}
  - {name: cam-2, interval: 400ms, outputs: [small]}
outputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
`

// mostToEnd is less than the 30 seconds that Kubernetes gives a container.
const mostToEnd = 25 * time.Second

// TestShutdown stops a feeder while nothing comes from NATS, or from Kinesis, or both are
// well. In the mode durable the next feeder goes on without a gap or a repeat. That the
// program does so at a signal is tested in cmd/cvfeeder.
func TestShutdown(t *testing.T) {
	feedertest.Long(t, "takes half a minute")
	for _, mode := range []config.Mode{config.ModeLive, config.ModeRing, config.ModeDurable} {
		for _, away := range []string{"nothing", "NATS", "Kinesis"} {
			t.Run(string(mode)+" without "+away, func(t *testing.T) {
				t.Parallel()
				w := feedertest.NewWays(t)
				stop := runUntil(t, w, shutdownConfig, w.Fake.URL, w.NATS.URL, mode)
				switch away {
				case "NATS":
					w.NATS.Swallow(t)
				case "Kinesis":
					w.Fake.Swallow(t)
				}
				<-time.After(time.Second) // something is on its way into the hole
				took, err := stop()
				t.Logf("it took %v", took)
				if took > mostToEnd {
					t.Errorf("it took %v", took)
				}
				if away == "nothing" && (err != nil || took > 10*time.Second) {
					t.Errorf("it took %v, and ended with %v", took, err)
				}
				if mode == config.ModeDurable {
					stop := runUntil(t, w, shutdownConfig, w.FakeURL, w.NATSURL, mode)
					if _, err := stop(); err != nil {
						t.Error(err)
					}
					w.CheckStored(t)
				}
			})
		}
	}
}

// runUntil starts a feeder and waits until tensors come. The returned function stops it,
// and returns how long that took.
func runUntil(t *testing.T, w *feedertest.Ways, text string, args ...any) (stop func() (time.Duration, error)) {
	t.Helper()
	o, log := options(t, text, args...)
	sub := feedertest.Subscribe(t, w.NATSURL, "cvf.t.cam-1.small")
	defer sub.Close()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- feeder.New(o).Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for range 10 {
		if _, err := sub.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return func() (time.Duration, error) {
		begin := time.Now()
		cancel()
		select {
		case err := <-done:
			return time.Since(begin), err
		case <-time.After(mostToEnd + 20*time.Second):
			t.Fatal("it does not end")
			return 0, nil
		}
	}
}
