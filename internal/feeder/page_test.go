package feeder_test

import (
	"context"
	"fmt"
	"image"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/internal/web"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/metrics/status"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest/scene"
)

const pageConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: %q, token: "a token for the page"}
streams:
  - {name: cam-1, interval: 400ms, outputs: [wide, crop]}
  - {name: cam-2, interval: 400ms, outputs: [wide]}
outputs:
  wide: {preset: yolo, size: 128x128, dtype: uint8}
  crop: {preset: imagenet, size: 64x64}
`

// A served is a feeder that runs until it is told to stop.
type served struct {
	http string
	stop func()
}

// serveFeeder starts a feeder with a page, which lasts no longer than the test.
func serveFeeder(t *testing.T, r *feedertest.Rig, listen string) served {
	t.Helper()
	return serveWith(t, pageConfig, r, listen)
}

// serveWith starts a feeder with another config.
func serveWith(t *testing.T, config string, r *feedertest.Rig, listen string) served {
	t.Helper()
	o, log := options(t, config, r.FakeURL, r.NATSURL, listen)
	at := make(chan string, 1)
	o.Started = func(_ context.Context, run feeder.Running) { at <- run.HTTP }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- feeder.New(o).Run(ctx) }()
	var s served
	select {
	case s.http = <-at:
	case err := <-ended:
		cancel()
		t.Fatalf("%v\n%s", err, log.String())
	}
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%v\n%s", err, log.String())
		}
	}
	t.Cleanup(s.stop)
	return s
}

// rowOf is the element of a stream.
func rowOf(name string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#streams > li")].find((l) => l.querySelector("h2 button").textContent === %q)`, name)
}

const names = `[...document.querySelectorAll("#streams h2 button")].map((b) => b.textContent).join()`

// TestStatusPage looks at a feeder with Chromium: the token, the streams, a gap,
// the pictures, and a restart.
func TestStatusPage(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) }) // after the browser and the rig
	b := newBrowser(t)
	scene, err := scene.NewDrawn(image.Pt(320, 180))
	if err != nil {
		t.Fatal(err)
	}
	var broken atomic.Bool
	r := feedertest.NewRig(t, kinesistest.Options{Scene: scene, Corrupt: func(stream string, _ time.Time, data []byte) []byte {
		if broken.Load() && stream == "cam-2" {
			return data[:len(data)/2]
		}
		return data
	}})
	f := serveFeeder(t, r, "127.0.0.1:0")

	b.do(chromedp.Navigate(f.http))
	b.until("asks for the token", `document.querySelector("#token") !== null`)
	b.do(chromedp.SendKeys(chromedp.CSS("#token"), "wrong\r"))
	b.until("refuses another token", `document.querySelector("[role=alert]")?.textContent.includes("not the token")`)
	b.do(chromedp.SendKeys(chromedp.CSS("#token"), "a token for the page\r"))
	b.until("shows the streams", names+` === "cam-1,cam-2"`)
	b.until("they are well", `[...document.querySelectorAll("#streams > li")].every((l) => l.dataset.state === "ok" && l.querySelector(".timeline .P"))`)
	b.until("the header tells how all is", `["ready", "connected", "live"].join() === ["ready", "nats", "mode"].map((i) => document.getElementById(i).textContent).join()`)

	b.until("it lives", `(() => { window.was ??= document.querySelector("#clock").textContent; return document.querySelector("#clock").textContent !== window.was })()`)
	pictures(b)
	broken.Store(true)
	b.until("shows a gap", rowOf("cam-2")+`?.dataset.state === "gaps" && `+rowOf("cam-2")+`.querySelector(".timeline .U") !== null`)
	b.until("says why and since when", `/since .*undecodable/.test(`+rowOf("cam-2")+`.querySelector(".why").textContent)`)
	b.until("puts the worst first", names+` === "cam-2,cam-1"`)
	broken.Store(false)
	filters(b)
	themes(b)
	b.narrow("the list", 390)
	b.narrow("the list", 320)

	f.stop()
	b.until("tells that it is disconnected", `!document.querySelector("#offline").hidden && document.querySelector("#offline").textContent.includes("Disconnected since")`)
	again := serveFeeder(t, r, strings.TrimPrefix(f.http, "http://"))
	b.until("goes on by itself", `document.querySelector("#offline").hidden && document.querySelector("#ready").textContent === "ready"`)
	b.until("shows the new run", rowOf("cam-1")+`?.dataset.state === "ok"`)
	again.stop()
	r.Messages()
	b.check()
}

// pictures opens a stream, looks at both outputs, and closes it.
func pictures(b *browser) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](rowOf("cam-1") + `.querySelector("h2 button").click()`))
	b.until("the frame and the tensor appear", `[...document.querySelectorAll(".live img")].map((i) => i.naturalWidth).join() === "320,128"`)
	// The picture of 16:9 has bars above and below of 28 pixels.
	if got, want := eval[string](b, `["x", "y", "width", "height"].map((a) => document.querySelectorAll(".live .frame")[1].querySelector(".region").getAttribute(a)).join()`), "0,28,128,72"; got != want {
		b.t.Errorf("the letterbox is drawn at %s, want %s", got, want)
	}
	b.do(chromedp.Evaluate[chromedp.Void](`[...document.querySelectorAll(".outputs button")].find((b) => b.textContent === "crop").click()`))
	b.until("the other output appears", `[...document.querySelectorAll(".live img")].map((i) => i.naturalWidth).join() === "320,64"`)
	b.until("a cell for each slot", `document.querySelectorAll(".slots rect").length > 5`)
	was := eval[string](b, `document.querySelector(".say").textContent`)
	b.until("a newer one follows", fmt.Sprintf(`document.querySelector(".say").textContent !== %q`, was))
	b.narrow("an open stream", 390)
	b.do(chromedp.EmulateViewport(1280, 800), chromedp.Evaluate[chromedp.Void](`document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }))`))
	b.until("it closes", `document.querySelector(".detail") === null`)
}

// filters filters by name and state, and sorts.
func filters(b *browser) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS("#name"), "AM-1"))
	b.until("filters by name", names+` === "cam-1" && document.querySelector("#found").textContent === "1 of 1 streams (2 in all)"`)
	b.do(chromedp.Evaluate[chromedp.Void](`(() => { const n = document.querySelector("#name"); n.value = ""; n.dispatchEvent(new Event("input")) })()`))
	b.until("shows all again", `document.querySelectorAll("#streams > li").length === 2`)
	b.do(chromedp.Click(chromedp.CSS(`#states [data-state="gaps"]`)))
	b.until("filters by state", names+` === "cam-2"`)
	b.do(chromedp.Click(chromedp.CSS(`#states [data-state=""]`)))
	b.do(chromedp.Evaluate[chromedp.Void](`(() => { const s = document.querySelector("#sort"); s.value = "name"; s.dispatchEvent(new Event("change")) })()`))
	b.until("sorts by name", names+` === "cam-1,cam-2"`)
}

// themes follows the system, unless somebody says otherwise.
func themes(b *browser) {
	b.t.Helper()
	const paper = `getComputedStyle(document.body).backgroundColor`
	b.scheme("dark")
	dark := eval[string](b, paper)
	b.scheme("light")
	light := eval[string](b, paper)
	if dark == light {
		b.t.Errorf("light and dark are both %s", light)
	}
	for _, want := range []string{light, dark, light} { // light, dark, as the system
		b.do(chromedp.Click(chromedp.CSS("#theme")))
		if got := eval[string](b, paper); got != want {
			b.t.Errorf("%s is %s, want %s", eval[string](b, `document.querySelector("#theme").textContent`), got, want)
		}
	}
}

// TestPageOfManyStreams shows 500 streams at once, and goes on showing them.
func TestPageOfManyStreams(t *testing.T) {
	b := newBrowser(t)
	streams := manyStreams(t, 500)
	page := status.Handler(status.Options{
		Version: "test", Mode: "live", Streams: func() []status.Stream { return streams },
		Connections: func() []metrics.Connection { return []metrics.Connection{{Name: "data", Connected: true}} },
		Health:      func() health.Report { return health.Report{Ready: true} },
	})
	srv := httptest.NewServer(web.Handler(web.Options{Metrics: metrics.New(metrics.Build{}), Ready: func() (bool, []string) { return true, nil }, Status: page}))
	defer srv.Close()
	b.do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate(srv.URL))
	const rows = `document.querySelectorAll("#streams > li").length`
	for n := 100; n < 500; n += 100 {
		b.until("shows a page", fmt.Sprintf("%s === %d", rows, n))
		b.do(chromedp.Click(chromedp.CSS("#more")))
	}
	b.until("shows all", rows+` === 500 && document.querySelector("#more").hidden`)
	// From now on, what keeps the page busy for longer than 50 ms is noted.
	b.do(chromedp.Evaluate[chromedp.Void](`(() => { window.long = [0]; window.asked = performance.getEntriesByType("resource").length;
		new PerformanceObserver((l) => long.push(...l.getEntries().map((e) => e.duration))).observe({ entryTypes: ["longtask"] }) })()`))
	b.until("asks again, three times", `performance.getEntriesByType("resource").length >= window.asked + 3`)
	longest := eval[float64](b, "Math.max(...window.long)")
	t.Logf("500 streams: %s bytes an answer, and the page was busy for at most %.0f ms at a time",
		eval[string](b, `String(performance.getEntriesByType("resource").at(-1).encodedBodySize)`), longest)
	if longest > 5000 { // with the machine busy with other tests
		t.Errorf("the page is busy for %.0f ms at a time", longest)
	}
	b.narrow("500 streams", 390)
	b.check()
}

// manyStreams returns streams with ten minutes of history, some of them with gaps.
func manyStreams(t *testing.T, n int) []status.Stream {
	t.Helper()
	grid, err := source.NewGrid(time.Second)
	if err != nil {
		t.Fatal(err)
	}
	end := grid.Floor(source.SlotAt(time.Now()))
	start := end.Add(-10 * time.Minute)
	all := make([]status.Stream, n)
	for i := range all {
		ledger := source.NewLedger(grid, start)
		h := status.NewHistory(grid, start)
		ledger.Watch(func(s source.Slot, n int, o source.Outcome) { h.Add(s, n, o, s.Add(3*time.Second).Time()) })
		ledger.Extend(end)
		for s, k := start, 0; s < end; s, k = grid.Step(s, 1), k+1 {
			o := source.Published
			if i%10 == 0 && k%37 < i/50 {
				o = source.NoMedia
			}
			ledger.Resolve(s, o)
		}
		all[i] = status.Stream{Interval: time.Second, Grace: 10 * time.Second, History: h}
		all[i].Name, all[i].Stats, all[i].Lag = fmt.Sprintf("camera-%d", i+1), ledger.Stats(), 3*time.Second
		all[i].Outputs = func() []status.Output { return []status.Output{{Name: "detector", Subject: "cvf.t.x.detector"}} }
	}
	return all
}

// TestPageLeavesNothing ends a feeder while somebody waits for a picture.
func TestPageLeavesNothing(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) }) // after the rig has ended
	r := feedertest.NewRig(t, kinesistest.Options{Scene: feedertest.Grey{}, Intercept: func(req kinesistest.Request) *kinesistest.ErrorResponse {
		if req.Stream == "cam-2" {
			return kinesistest.Broken()
		}
		return nil
	}})
	f := serveFeeder(t, r, "127.0.0.1:0")
	client := &http.Client{Transport: &http.Transport{}}
	picture := func(stream string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.http+"/api/streams/"+stream+"/picture?output=wide", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer a token for the page")
		resp, err := client.Do(req)
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		return resp.StatusCode, string(body)
	}
	status, body := picture("cam-1")
	for status == http.StatusServiceUnavailable && t.Context().Err() == nil { // until it has begun
		status, body = picture("cam-1")
	}
	if status != http.StatusOK || !strings.Contains(body, `"width":128`) {
		t.Errorf("%d %.300s", status, body)
	}
	if status, body := picture("cam-3"); status != http.StatusNotFound || !strings.Contains(body, "cam-1, cam-2") {
		t.Errorf("%d %s", status, body)
	}
	const maxViews = 4 // requests that may wait at the same time
	// One more than that: once it is refused, the others wait.
	ends := make(chan int, maxViews+1)
	for range maxViews + 1 {
		go func() {
			status, _ := picture("cam-2")
			ends <- status
		}()
	}
	if status := <-ends; status != http.StatusTooManyRequests {
		t.Errorf("the one too many: %d", status)
	}
	f.stop()
	for range maxViews {
		if status := <-ends; status != http.StatusServiceUnavailable {
			t.Errorf("at the end: %d", status)
		}
	}
	client.CloseIdleConnections()
	r.Messages()
}
