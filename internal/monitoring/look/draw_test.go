package look_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/cvfeeder/cvfeeder/internal/monitoring/promtest"
	"github.com/cvfeeder/cvfeeder/internal/web/webtest"
)

// page loads the bundle that make dashboards-look has built of page/.
const page = `<!doctype html><meta charset="utf-8"><title>drawing</title><link rel="stylesheet" href="/bundle/look.css"><div id="page"></div><script type="module" src="/bundle/look.js"></script>`

// A site serves the page, with what it draws.
type site struct {
	url string

	mu  sync.Mutex
	now look
}

// serve starts a server for the page, for the length of the test.
func serve(t *testing.T, dir string) *site {
	t.Helper()
	s := &site{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, page) })
	mux.Handle("GET /bundle/", http.StripPrefix("/bundle/", http.FileServer(http.Dir(filepath.Join(dir, "bundle")))))
	icons := filepath.Join(dir, "node_modules", "@grafana", "ui", "dist", "public")
	mux.Handle("GET /build/", http.StripPrefix("/build/", http.FileServer(http.Dir(icons))))
	mux.HandleFunc("GET /look.json", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(s.now)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// browser starts one for the length of the test, and returns its tab.
func browser(t *testing.T) context.Context {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("needs the program chromium: .ci/deps.sh test installs it")
	}
	return webtest.NewTab(t, program, 5*time.Minute)
}

func (s *site) show(l look) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = l
}

// draw writes a picture of the dashboard to a file. What does not fit fails the test.
func (s *site) draw(t *testing.T, tab context.Context, theme, file string, m model) { //nolint:revive // the test comes first
	t.Helper()
	bottom := 0
	for _, p := range m.Panels {
		bottom = max(bottom, p.GridPos.Y+p.GridPos.H)
	}
	if err := chromedp.Do(tab, chromedp.EmulateViewport(1600, int64(bottom*38+56)), chromedp.Navigate(s.url+"/?theme="+theme)); err != nil {
		t.Fatal(err)
	}
	promtest.Until(t, time.Minute, "the page is drawn", func() bool { return eval[string](t, tab, "document.title") == "drawn" })
	for _, problem := range eval[[]string](t, tab, "window.problems()") {
		t.Errorf("%s, %s: %s", m.Title, theme, problem)
	}
	picture, err := chromedp.Run(tab, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, picture, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Log(file)
}

// eval returns the value of a JavaScript expression.
func eval[T any](t *testing.T, tab context.Context, js string) T { //nolint:revive // the test comes first
	t.Helper()
	v, err := chromedp.Run(tab, chromedp.Evaluate[T](js))
	if err != nil {
		t.Fatal(err)
	}
	return v
}
