package feeder_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// The stream itself is asked for once in five minutes.
const requestsConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: 127.0.0.1:0}
requests: {rate: 10000, rate_per_asker: 10000, images_per_day: 5}
streams:
  - {name: cam-1, interval: 5m, outputs: [small, other]}
outputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
  other: {preset: yolo, size: 48x48, dtype: uint8}
`

// TestRequestsAreBounded: 64 askers that ask for one slot in a loop have the images of one
// frame billed, whatever instant of the slot they name and whichever output they want. And
// when the images of the day are used up, nothing more is billed.
func TestRequestsAreBounded(t *testing.T) {
	var billed atomic.Int64
	natsURL := feedertest.ServeNATS(t)
	_, fakeURL := feedertest.ServeFake(t, kinesistest.Options{
		Scene: feedertest.Grey{}, Streams: kinesistest.Cameras(1),
		Observe: func(r kinesistest.Request) {
			if r.Operation == "GetImages" && time.Since(r.End) > 30*time.Minute { // for a request
				billed.Add(int64(r.Asked))
			}
		},
	})
	o, log := options(t, requestsConfig, fakeURL, natsURL)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	slot := time.Now().UTC().Truncate(5 * time.Minute).Add(-2 * time.Hour)
	o.Started = func(_ context.Context, r feeder.Running) {
		defer cancel()
		nc, err := nats.Connect(natsURL)
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		a := &asking{t: t, nc: nc}
		a.waitForService()
		var loops sync.WaitGroup
		for i := range 64 {
			loops.Go(func() { askInALoop(t, natsURL, slot.Add(time.Duration(i)*time.Second)) })
		}
		loops.Wait()
		if n := billed.Load(); n != 2 {
			t.Errorf("%d images were billed", n)
		}
		if m := a.frame("cam-1", slot.Add(-time.Hour), "other"); m.Header.Get(micro.ErrorCodeHeader) != "" {
			t.Errorf("another slot: %v", m.Header)
		}
		a.wantError("cam-1", slot.Add(-2*time.Hour), "small", "429", "5 (requests.images_per_day): ask again in 2")
		if n := billed.Load(); n != 4 {
			t.Errorf("%d images were billed in all", n)
		}
		wantCounts(t, feedertest.Get(t, r.HTTP+"/metrics"))
	}
	if err := feeder.New(o).Run(ctx); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	http.DefaultClient.CloseIdleConnections()
}

// askInALoop asks for a slot as often as it can, and takes being told to ask again later.
func askInALoop(t *testing.T, url string, at time.Time) {
	nc, err := nats.Connect(url)
	if err != nil {
		t.Error(err)
		return
	}
	defer nc.Close()
	for i, answered := 0, 0; answered < 5; i++ {
		request := fmt.Appendf(nil, `{"stream": "cam-1", "time": %q, "output": %q}`, at.Format(time.RFC3339), []string{"small", "other"}[i%2])
		m, err := nc.Request(frames.FrameSubject, request, 20*time.Second)
		if err != nil {
			t.Error(err)
			return
		}
		switch code := m.Header.Get(micro.ErrorCodeHeader); {
		case code == "":
			answered++
		case code == "429" && !strings.Contains(m.Header.Get(micro.ErrorHeader), "images_per_day"):
		default:
			t.Error(m.Header)
			return
		}
	}
}

func wantCounts(t *testing.T, scraped string) {
	t.Helper()
	for _, line := range []string{`made"} 2`, `refused_daily"} 1`, `failed"} 0`} {
		if !strings.Contains(scraped, `cvfeeder_frame_requests_total{outcome="`+line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	var shared, cached int
	for line := range strings.Lines(scraped) {
		_, _ = fmt.Sscanf(line, `cvfeeder_frame_requests_total{outcome="shared"} %d`, &shared)
		_, _ = fmt.Sscanf(line, `cvfeeder_frame_requests_total{outcome="cached"} %d`, &cached)
	}
	if shared+cached != 64*5-1 {
		t.Errorf("%d were shared and %d cached", shared, cached)
	}
}
