package web

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"

	"github.com/cvfeeder/cvfeeder/internal/sanitize"
)

// Options say what is served.
type Options struct {
	// Metrics serves /metrics.
	Metrics http.Handler
	// Ready returns whether what is expected flows, and what does not, a line for each
	// reason. There may be some although it is ready.
	Ready func() (bool, []string)
	// Status serves /, /static/ and /api/. Where it is nil, / lists the other paths.
	Status http.Handler
	// Pprof serves /debug/pprof/.
	Pprof bool
	// Token is required of every request but the health checks, as a bearer token or
	// through a login form; "" requires none.
	Token string
	// Loopback says that only this machine can connect. Without a token, requests
	// by host names other than localhost are then refused, because a page on the web
	// can make its own name resolve to this machine.
	Loopback bool
}

// Handler serves
//
//   - /metrics
//   - /healthz: 200 while the process works
//   - /readyz: 200 and "ready" when Ready says so, otherwise 503 and "not ready"; then the
//     reasons, one to a line; for who does not show the token only of what kind they are
//   - /, /static/ and /api/: the status page, where there is one
//   - /debug/pprof/, where it is asked for
func Handler(o Options) http.Handler {
	pages, knows := o.guarded(o.pages())
	health := http.NewServeMux()
	health.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	health.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ready, why := o.Ready()
		if !knows(r) {
			why = codes(why)
		}
		if !ready {
			text(w, http.StatusServiceUnavailable, append([]string{"not ready"}, why...)...)
			return
		}
		text(w, http.StatusOK, append([]string{"ready"}, why...)...)
	})
	health.Handle("/", pages)
	return patient(secured(health))
}

// pages serves everything but the health checks.
func (o Options) pages() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", o.Metrics)
	index := []string{"cvfeeder", "", "/metrics  Prometheus metrics", "/healthz  the process works", "/readyz   what is expected flows"}
	if o.Pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
		index = append(index, "/debug/pprof/  Go profiles")
	}
	if o.Status == nil {
		mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, index...) })
		return mux
	}
	for _, path := range []string{"GET /{$}", "GET /static/", "GET /api/", "POST /api/"} {
		mux.Handle(path, o.Status)
	}
	return mux
}

// guarded refuses requests from those who may not see the pages. knows tells whether somebody
// may see what the pages say.
func (o Options) guarded(next http.Handler) (pages http.Handler, knows func(*http.Request) bool) {
	anybody := func(*http.Request) bool { return true }
	switch {
	case o.Token != "":
		g := newGuard(o.Token, next)
		return g, g.knows
	case o.Loopback:
		return local(next), anybody
	}
	return next, anybody
}

// codes returns the codes of reasons, each once: "refused" of "refused: stream front-door: …".
// What follows has names, and what AWS and NATS say, which may have account numbers.
func codes(reasons []string) []string {
	var kinds []string
	for _, reason := range reasons {
		kind := strings.ToLower(strings.TrimRight(strings.SplitN(reason, " ", 2)[0], ":"))
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

func text(w http.ResponseWriter, status int, lines ...string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	for _, l := range lines {
		_, _ = fmt.Fprintln(w, sanitize.Text(l))
	}
}
