package feeder_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const fullConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: "127.0.0.1:0"}
delivery: {mode: durable, stream: {max_bytes: 40KB}}
streams:
  - {name: cam-1, interval: 200ms, outputs: [small]}
outputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
`

// TestFullIsNamed: a durable stream that is full is named while no slot ends.
func TestFullIsNamed(t *testing.T) {
	t.Parallel()
	natsURL := feedertest.ServeNATS(t)
	_, fakeURL := feedertest.ServeFake(t, kinesistest.Options{Scene: feedertest.Grey{}, Streams: kinesistest.Cameras(1)})
	o, log := options(t, fullConfig, fakeURL, natsURL)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Started = func(ctx context.Context, run feeder.Running) {
		defer cancel()
		if last := untilAnswer(ctx, run.HTTP+"/readyz", http.StatusServiceUnavailable, "not ready\nstream_full: "); last != "" {
			t.Errorf("never said to be full: %s", last)
		}
		if last := untilAnswer(ctx, run.HTTP+"/metrics", http.StatusOK, `cvfeeder_not_ready{reason="stream_full"} 1`); last != "" {
			t.Error("the metric does not tell")
		}
		if last := untilAnswer(ctx, run.HTTP+"/api/streams", http.StatusOK, `"state":"stalled","code":"stream_full"`); last != "" {
			t.Errorf("the page does not tell: %s", last)
		}
	}
	if err := feeder.New(o).Run(ctx); err != nil {
		t.Errorf("%v\n%s", err, log.String())
	}
	if n := strings.Count(log.String(), "reason=stream_full"); n != 1 {
		t.Errorf("%d lines\n%s", n, log.String())
	}
}
