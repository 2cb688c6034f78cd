package metrics

import (
	"fmt"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// HTTP says what is served besides metrics and health.
type HTTP struct {
	// Pprof serves /debug/pprof/.
	Pprof bool
}

// Handler serves
//
//   - /metrics
//   - /healthz: 200 while the process works
//   - /readyz: 200 when notReady returns nothing, else 503 with its reasons, a
//     line each
//   - /: the list of these
func Handler(m *Metrics, notReady func() []string, opts HTTP) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{
		Registry: m.Registry, EnableOpenMetrics: true,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
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
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, index...) })
	return mux
}

func text(w http.ResponseWriter, status int, lines ...string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	for _, l := range lines {
		_, _ = fmt.Fprintln(w, l)
	}
}
