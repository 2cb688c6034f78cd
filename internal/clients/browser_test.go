package clients

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/cvfeeder/cvfeeder/internal/web/webtest"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/transform"
)

// page shows the tensors of a server on its canvas. %s is the server's URL.
const page = `<!doctype html><title>waiting</title><canvas></canvas><script type="module">
import { subscribe } from "/cvfeeder.browser.js";
const show = async () => {
	for await (const t of subscribe("cvf.t.*.*", { servers: %q, newest: true })) {
		t.draw(document.querySelector("canvas"));
		window.array = t.array.constructor.name;
		window.offset = t.payload.byteOffset;
		document.title = t.stream;
	}
};
show().catch((err) => { document.title = String(err); });
</script>`

// readInBrowser lets a page in a real browser read tensors over a WebSocket, and draw them.
func readInBrowser(t *testing.T, dir string) {
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs the program chromium: .ci/deps.sh test installs it")
	}
	client, socket := natstest.StartWebSocket(t)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintf(w, page, socket) })
	mux.HandleFunc("GET /cvfeeder.browser.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(dir, "dist", "cvfeeder.browser.js"))
	})
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	conn, err := dial.Dial(dial.Options{URL: client})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	live := deliver.NewLive(conn, publish.GapEvents)

	tab := webtest.NewTab(t, program, time.Minute)
	if err := chromedp.Do(tab, chromedp.Navigate(site.URL)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dtype transform.DType
		array string
	}{{transform.Uint8, "Uint8Array"}, {transform.Float32, "Float32Array"}, {transform.Float16, "Float16Array"}} {
		// Names of all lengths, since the payload begins where the headers before it end.
		for length := range 4 {
			stream := fmt.Sprintf("cam-%s-%.*s", c.dtype, length, "xxxx")
			publishPicture(t, live, stream, c.dtype)
			natstest.Eventually(t, "the tensor of "+stream+" is drawn", func() bool {
				return eval[string](t, tab, "document.title") == stream
			})
			array := eval[string](t, tab, "window.array")
			pixels := eval[string](t, tab, `(() => { const c = document.querySelector("canvas");
				return [c.width, c.height, ...c.getContext("2d").getImageData(0, 0, c.width, c.height).data].join(" "); })()`)
			if want := "2 1 10 30 50 255 20 40 60 255"; pixels != want || array != c.array {
				t.Errorf("%s: drawn is %s from a %s, want %s from a %s", stream, pixels, array, want, c.array)
			}
		}
	}
}

// publishPicture publishes a picture of two pixels, 10 30 50 and 20 40 60, once the page
// listens.
func publishPicture(t *testing.T, live *deliver.Live, stream string, dtype transform.DType) {
	t.Helper()
	r := tensors{
		Stream: stream, Output: "detector", Width: 2, Height: 1, DType: dtype, Layout: transform.NCHW,
		Color: transform.RGB, Affine: transform.Affine{1, 0, 0, 0, 1, 0}, Std: [3]float64{1, 1, 1}, Fingerprint: "3f2a",
	}
	tensor := r.tensor(0)
	tensor.Output.Spec.Scale = 1
	tensor.Data = map[transform.DType][]byte{
		transform.Uint8:   {10, 20, 30, 40, 50, 60},
		transform.Float32: {0, 0, 32, 65, 0, 0, 160, 65, 0, 0, 240, 65, 0, 0, 32, 66, 0, 0, 72, 66, 0, 0, 112, 66},
		transform.Float16: {0, 73, 0, 77, 128, 79, 0, 81, 64, 82, 128, 83},
	}[dtype]
	m := publish.NewMessage("cvf.t."+stream+".detector", tensor)
	natstest.Within(t, func() error {
		err := live.Publish(t.Context(), m)
		if err != nil && !errors.Is(err, publish.ErrUnwatched) {
			t.Fatal(err)
		}
		return err
	})
}

// eval returns the value of a JavaScript expression.
func eval[T any](t *testing.T, tab context.Context, js string) T { //nolint:revive // the test comes first
	t.Helper()
	v, err := chromedp.Run(tab, chromedp.Evaluate[T](js))
	if err != nil {
		t.Fatalf("%s: %v", js, err)
	}
	return v
}
