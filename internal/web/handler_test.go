package web_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/web"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/source"
)

func TestHandler(t *testing.T) {
	var why []string
	var ready bool
	m := metrics.New(metrics.Build{Version: "v1"})
	m.Read(metrics.Sources{Streams: func() []metrics.Stream {
		s := metrics.Stream{Name: "cam"}
		s.Ended[source.NoMedia] = 2
		return []metrics.Stream{s}
	}})
	srv := httptest.NewServer(web.Handler(web.Options{Metrics: m, Ready: func() (bool, []string) { return ready, why }}))
	defer srv.Close()
	for _, tc := range []struct {
		path   string
		ready  bool
		why    []string
		status int
		body   string
	}{
		{path: "/healthz", status: 200, body: "ok\n"},
		{path: "/readyz", ready: true, status: 200, body: "ready\n"},
		{path: "/readyz", why: []string{"nats_away: down", "stalled: stream cam"}, status: 503, body: "not ready\nnats_away: down\nstalled: stream cam\n"},
		{path: "/readyz", ready: true, why: []string{"stalled: stream cam"}, status: 200, body: "ready\nstalled: stream cam\n"},
		{path: "/healthz", why: []string{"NATS: away"}, status: 200, body: "ok\n"},
		{path: "/metrics", status: 200, body: `cvfeeder_slots_total{outcome="no_media",stream="cam"} 2`},
		{path: "/", status: 200, body: "/metrics"},
		{path: "/nothing", status: 404},
		{path: "/debug/pprof/", status: 404},
	} {
		ready, why = tc.ready, tc.why
		if status, body := get(t, srv, tc.path); status != tc.status || !strings.Contains(body, tc.body) {
			t.Errorf("GET %s: %d %q", tc.path, status, body)
		}
	}
	profiled := httptest.NewServer(web.Handler(web.Options{Metrics: m, Ready: func() (bool, []string) { return true, nil }, Pprof: true}))
	defer profiled.Close()
	if status, body := get(t, profiled, "/debug/pprof/"); status != http.StatusOK {
		t.Errorf("pprof: %d %q", status, body)
	}
}

func get(t *testing.T, srv *httptest.Server, path string) (status int, body string) {
	t.Helper()
	resp, err := srv.Client().Get(srv.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}
