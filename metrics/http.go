package metrics

import (
	"fmt"
	"net/http"
	"net/http/pprof"
)

// HTTP says what is served besides metrics and health.
type HTTP struct {
	// Pprof serves /debug/pprof/.
	Pprof bool
	// Status serves /, /static/ and /api/. nil makes / the list of what there is.
	Status http.Handler
	// Token is required of every request but the health checks, as a bearer token or
	// by a form; "" requires none.
	Token string
	// Loopback tells that only this machine can connect. Without a token, requests
	// by host names other than localhost are refused then, because a page elsewhere
	// can have its own name resolve to this machine.
	Loopback bool
}

// Handler serves
//
//   - /metrics
//   - /healthz: 200 while the process works
//   - /readyz: 200 when notReady returns nothing, else 503 with its reasons, a
//     line each
//   - /, /static/ and /api/: the status page, where there is one
func Handler(m *Metrics, notReady func() []string, opts HTTP) http.Handler {
	mux, health := http.NewServeMux(), http.NewServeMux()
	mux.Handle("GET /metrics", m)
	health.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	health.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := notReady(); len(why) > 0 {
			text(w, http.StatusServiceUnavailable, why...)
			return
		}
		text(w, http.StatusOK, "ready")
	})
	index := []string{"cvfeeder", "", "/metrics  Prometheus metrics", "/healthz  the process works", "/readyz   frames can flow"}
	if opts.Pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
		index = append(index, "/debug/pprof/  Go profiles")
	}
	if opts.Status == nil {
		mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, index...) })
	} else {
		for _, path := range []string{"GET /{$}", "GET /static/", "GET /api/"} {
			mux.Handle(path, opts.Status)
		}
	}
	health.Handle("/", opts.guarded(mux))
	return secured(health)
}

// guarded keeps out who should not see.
func (o HTTP) guarded(next http.Handler) http.Handler {
	switch {
	case o.Token != "":
		return newGuard(o.Token, next)
	case o.Loopback:
		return local(next)
	}
	return next
}

func text(w http.ResponseWriter, status int, lines ...string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	for _, l := range lines {
		_, _ = fmt.Fprintln(w, l)
	}
}
