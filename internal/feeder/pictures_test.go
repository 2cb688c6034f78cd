package feeder_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const picturesConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: %q, token: "a token for the page"}
requests: {rate: 1000, rate_per_asker: 10, images_per_day: 5}
streams:
  - {name: cam-1, interval: 400ms, outputs: [wide]}
  - {name: cam-2, interval: 5m, outputs: [wide]}
outputs:
  wide: {preset: yolo, size: 128x96, dtype: uint8}
`

// TestFrameOfASlotHasItsPrice: the page's requests for slots that have passed are bounded by
// what bounds those over NATS, and only who has the token may make them.
func TestFrameOfASlotHasItsPrice(t *testing.T) {
	r := feedertest.NewRig(t, kinesistest.Options{Scene: feedertest.Grey{}})
	f := serveWith(t, picturesConfig, r, "127.0.0.1:0")
	ask := func(method, path, token string) (int, []byte) {
		req, err := http.NewRequestWithContext(t.Context(), method, f.http+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body
	}
	const token = "a token for the page"
	status, body := ask(http.MethodGet, "/api/streams/cam-1/picture?output=wide&as=npy", token)
	for status == http.StatusServiceUnavailable && t.Context().Err() == nil { // until it has begun
		status, body = ask(http.MethodGet, "/api/streams/cam-1/picture?output=wide&as=npy", token)
	}
	if status != http.StatusOK || !bytes.HasPrefix(body, []byte("\x93NUMPY")) || len(body) != 128+3*96*128 {
		t.Fatalf("%d, %d bytes: %.80q", status, len(body), body)
	}
	if status, body := ask(http.MethodGet, "/api/streams/cam-1/thumbnail?output=wide&show=tensor", token); status != http.StatusOK || !bytes.Contains(body, []byte(`"width":128,"height":96`)) {
		t.Errorf("%d %.200s", status, body)
	}
	if status, body := ask(http.MethodGet, "/api/streams/cam-1/config", token); status != http.StatusOK || !strings.Contains(string(body), "name: cam-1\n  interval: 400ms\n") {
		t.Errorf("%d %s", status, body)
	}
	slot := time.Now().UTC().Truncate(5 * time.Minute).Add(-2 * time.Hour)
	frame := func(hours int, as, token string) (int, string) {
		at := slot.Add(time.Duration(-hours) * time.Hour).Format(time.RFC3339)
		status, body := ask(http.MethodPost, "/api/streams/cam-2/frame?output=wide&time="+at+"&as="+as, token)
		return status, string(body)
	}
	for _, step := range []struct {
		hours     int
		as, token string
		status    int
		want      string
	}{
		{0, "json", "another", http.StatusUnauthorized, ""},
		{0, "json", token, http.StatusOK, `"outcome":"requested"`},
		{0, "npy", token, http.StatusOK, "\x93NUMPY"}, // costs no image more
		{0, "frame", token, http.StatusOK, "\xff\xd8\xff"},
		{1, "json", token, http.StatusOK, `"source":{"width":`},
		{2, "json", token, http.StatusTooManyRequests, "requests.images_per_day"}, // it would take the sixth image
	} {
		if status, body := frame(step.hours, step.as, step.token); status != step.status || !strings.Contains(body, step.want) {
			t.Errorf("%+v: %d %.300s", step, status, body)
		}
	}
	var often atomic.Int32
	var asking sync.WaitGroup
	for range 60 {
		asking.Go(func() {
			if status, body := frame(0, "json", token); status == http.StatusTooManyRequests && strings.Contains(body, "requests.rate_per_asker") {
				often.Add(1)
			}
		})
	}
	if asking.Wait(); often.Load() == 0 {
		t.Error("60 requests at once, and none is refused as too many")
	}
}
