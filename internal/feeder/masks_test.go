package feeder_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/metrics/status"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const masksConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: %q}
replay: {max_bytes: 10MiB}
streams:
  - {name: cam-1, interval: 400ms, outputs: [small], masks: [{box: [0, 0, 1, 1], fill: "255,0,0"}]}
outputs:
  small: {preset: raw}
`

// TestMasksAreEverywhere: whatever leaves the process has the masks: tensors that are published,
// on request, of ranges, bursts and replays, and the pictures of the page.
func TestMasksAreEverywhere(t *testing.T) {
	natsURL := feedertest.ServeNATS(t)
	_, fakeURL := feedertest.ServeFake(t, kinesistest.Options{Scene: feedertest.Grey{}, Streams: kinesistest.Cameras(1)})
	nc, err := nats.Connect(natsURL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var mu sync.Mutex
	seen := map[string]int{}
	count := func(kind string) int {
		mu.Lock()
		defer mu.Unlock()
		return seen[kind]
	}
	red := bytes.Repeat([]byte{255, 0, 0}, 32*32)
	if _, err := nc.Subscribe(">", func(m *nats.Msg) {
		if m.Header.Get(publish.HeaderShape) == "" || len(m.Data) == 0 {
			return
		}
		kind, _, _ := strings.Cut(m.Subject, ".cam-1")
		if strings.HasPrefix(kind, "_INBOX") {
			kind = "request"
		}
		if m.Header.Get("Cvf-Burst") != "" {
			kind = "burst"
		}
		mu.Lock()
		defer mu.Unlock()
		seen[kind]++
		if !bytes.Equal(m.Data, red) {
			t.Errorf("%s is not masked: % x", m.Subject, m.Data[:12])
		}
	}); err != nil {
		t.Fatal(err)
	}
	r := &feedertest.Rig{FakeURL: fakeURL, NATSURL: natsURL}
	f := serveWith(t, masksConfig, r, "127.0.0.1:0")
	to := time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	answer, failed := ask(t, natsURL, fmt.Sprintf(`{"streams": ["cam-1"], "from": %q, "to": %q, "interval": "1s"}`, to.Add(-20*time.Second).Format(time.RFC3339), to.Format(time.RFC3339)))
	if failed != "" {
		t.Fatal(failed)
	}
	if m, err := nc.Request("cvf.svc.burst", fmt.Appendf(nil, `{"stream": "cam-1", "time": %q}`, to.Format(time.RFC3339)), 10*time.Second); err != nil || m.Header.Get("Nats-Service-Error") != "" {
		t.Errorf("%v %v", m, err)
	}
	if m, err := nc.Request("cvf.svc.frame", fmt.Appendf(nil, `{"stream": "cam-1", "time": %q, "output": "small"}`, to.Format(time.RFC3339)), 20*time.Second); err != nil || !bytes.Equal(m.Data, red) {
		t.Errorf("on request: %v %v", m, err)
	}
	n := 0
	for d, err := range consume.Frames(t.Context(), dial.Options{URL: natsURL}, past(10, time.Second)) {
		if err != nil || d.Gap != nil || !bytes.Equal(d.Data, red) {
			t.Fatalf("a range: %+v %v", d.Gap, err)
		}
		n++
	}
	if n != 10 {
		t.Errorf("%d of the range", n)
	}
	natstest.Eventually(t, "all kinds come", func() bool {
		return count("cvf.t") > 0 && count("burst") > 0 && count("cvf.r."+answer["job"].(string)) > 10 && count("request") == 11
	})
	checkMaskedPage(t, f.http, to)
	http.DefaultClient.CloseIdleConnections()
}

// checkMaskedPage looks at all pictures of the page.
func checkMaskedPage(t *testing.T, url string, past time.Time) {
	t.Helper()
	get := func(method, path string) []byte {
		req, err := http.NewRequestWithContext(t.Context(), method, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %.200s %v", path, resp.StatusCode, body, err)
		}
		return body
	}
	isRed := func(what string, data []byte) {
		m, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if red, green, blue, _ := m.At(9, 9).RGBA(); m.Bounds().Dx() != 32 || red < 0xf000 || green > 0xfff || blue > 0xfff {
			t.Errorf("%s is %x %x %x", what, red, green, blue)
		}
	}
	const stream = "/api/streams/cam-1/"
	at := past.Format(time.RFC3339)
	isRed("the camera's picture", get(http.MethodGet, stream+"picture?output=small&as=frame"))
	isRed("that of a slot", get(http.MethodPost, stream+"frame?output=small&as=frame&time="+at))
	for _, path := range []string{"thumbnail?output=small&show=frame", "thumbnail?output=small&show=tensor", "picture?output=small"} {
		var p status.Picture
		if err := json.Unmarshal(get(http.MethodGet, stream+path), &p); err != nil {
			t.Fatal(err)
		}
		if p.Source == nil && p.Tensor == nil {
			t.Errorf("%s shows nothing: %s", path, p.Reason)
		}
		for _, m := range []*status.Image{p.Source, p.Tensor} {
			if m != nil {
				isRed(path, m.Data)
			}
		}
	}
	if body := get(http.MethodGet, "/api/streams"); !bytes.Contains(body, []byte("1 mask")) {
		t.Errorf("the page does not say that there is a mask: %.300s", body)
	}
}
