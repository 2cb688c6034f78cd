package feeder_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const readinessConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: "127.0.0.1:0", token: "not for the health checks", ready: %s}
streams:
  - {name: cam-1, interval: 200ms, outputs: [small]}
  - {name: cam-2, interval: 200ms, outputs: [small]}
outputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
`

// TestReadiness has NATS and a stream go away and come back. That a stream stalls is
// tested where time can be made to pass: in internal/health.
func TestReadiness(t *testing.T) {
	t.Parallel()
	var refused atomic.Bool
	r := feedertest.NewRig(t, kinesistest.Options{Scene: feedertest.Grey{}, Intercept: func(req kinesistest.Request) *kinesistest.ErrorResponse {
		if refused.Load() && req.Stream == "cam-2" && req.Operation == "GetImages" {
			return &kinesistest.ErrorResponse{Status: http.StatusForbidden, Code: "NotAuthorizedException", Message: "no more"}
		}
		return nil
	}})
	proxy := feedertest.NewHole(t, r.NATSURL)
	proxy.Stop() // it has its address now
	o, log := options(t, readinessConfig, r.FakeURL, proxy.URL, health.All)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Started = func(ctx context.Context, run feeder.Running) {
		defer cancel()
		for _, step := range []struct {
			do     func()
			status int
			body   string
		}{
			{func() {}, http.StatusServiceUnavailable, "\nnats_away"},
			{func() {
				for !strings.Contains(log.String(), "reason=nats_away") && ctx.Err() == nil {
					<-time.After(50 * time.Millisecond) // it is logged once it has lasted
				}
				_ = proxy.Start()
			}, http.StatusOK, "ready"},
			{func() { refused.Store(true) }, http.StatusServiceUnavailable, "\nrefused"},
			{func() { refused.Store(false) }, http.StatusOK, "ready"},
			{proxy.Stop, http.StatusServiceUnavailable, "\nnats_away"},
			{func() { _ = proxy.Start() }, http.StatusOK, "ready"},
		} {
			step.do()
			if last := untilAnswer(ctx, run.HTTP+"/readyz", step.status, step.body); last != "" {
				t.Errorf("never %d %q, but %s", step.status, step.body, last)
			}
			if last := untilAnswer(ctx, run.HTTP+"/healthz", http.StatusOK, "ok"); last != "" {
				t.Errorf("not healthy: %s", last)
			}
		}
	}
	if err := feeder.New(o).Run(ctx); err != nil {
		t.Errorf("%v\n%s", err, log.String())
	}
	r.Messages()
	// It was away at the start, and once more.
	for reason, want := range map[string]int{"reason=nats_away": 4, "reason=refused stream=cam-2": 2} {
		if n := strings.Count(log.String(), reason); n != want {
			t.Errorf("%d lines with %s, want %d\n%s", n, reason, want, log.String())
		}
	}
}

// TestReadinessOfAPrefix: without an answer to which streams there are, nothing is ready.
func TestReadinessOfAPrefix(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	away.Store(true)
	r := feedertest.NewRig(t, kinesistest.Options{Scene: feedertest.Grey{}, Intercept: func(req kinesistest.Request) *kinesistest.ErrorResponse {
		if away.Load() && req.Operation == "ListStreams" {
			return &kinesistest.ErrorResponse{Code: "InvalidArgumentException", Message: "not today"}
		}
		return nil
	}})
	o, log := options(t, strings.Replace(readinessConfig, "name: cam-2", "prefix: cam-2", 1), r.FakeURL, r.NATSURL, health.Any)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Started = func(ctx context.Context, run feeder.Running) {
		defer cancel()
		if last := untilAnswer(ctx, run.HTTP+"/readyz", http.StatusServiceUnavailable, "\nprefix_unknown"); last != "" {
			t.Errorf("ready without the prefix: %s", last)
		}
		away.Store(false)
		if last := untilAnswer(ctx, run.HTTP+"/readyz", http.StatusOK, "ready"); last != "" {
			t.Errorf("never ready: %s", last)
		}
	}
	if err := feeder.New(o).Run(ctx); err != nil {
		t.Errorf("%v\n%s", err, log.String())
	}
	r.Messages()
}

// untilAnswer asks until the answer is as wanted. It returns the last one where it
// never was.
func untilAnswer(ctx context.Context, url string, status int, body string) (last string) {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		resp, err := http.Get(url)
		if err != nil {
			last = err.Error()
		} else {
			text, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode == status && strings.Contains(string(text), body) {
				return ""
			}
			last = fmt.Sprintf("%d %s", resp.StatusCode, text)
		}
		select {
		case <-ctx.Done():
			return last
		case <-tick.C:
		}
	}
}
