package feeder

import (
	"bytes"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/metrics"
)

// listening is a listener that only has an address.
type listening struct {
	net.Listener
	addr string
}

func (l listening) Addr() net.Addr {
	a, err := net.ResolveTCPAddr("tcp", l.addr)
	if err != nil {
		panic(err)
	}
	return a
}

// TestOpenToEverybody: beyond loopback without a token there is a warning, and on
// loopback host names are refused.
func TestOpenToEverybody(t *testing.T) {
	for _, tc := range []struct {
		addr, token string
		warns       bool
		status      int // of a request by a host name
	}{
		{addr: "127.0.0.1:9177", status: http.StatusForbidden},
		{addr: "[::1]:9177", status: http.StatusForbidden},
		{addr: "0.0.0.0:9177", warns: true, status: http.StatusOK},
		{addr: "[::]:9177", warns: true, status: http.StatusOK},
		{addr: "10.1.2.3:9177", warns: true, status: http.StatusOK},
		{addr: "0.0.0.0:9177", token: "secret", status: http.StatusUnauthorized},
		{addr: "127.0.0.1:9177", token: "secret", status: http.StatusUnauthorized},
	} {
		var log bytes.Buffer
		p := &parts{
			plan: Plan{Config: &config.Config{HTTP: config.HTTP{Token: tc.token}}}, broker: &broker{},
			metrics: metrics.New(metrics.Build{}), pipeline: pipeline.New(pipeline.Options{}),
			log: slog.New(slog.NewTextHandler(&log, nil)),
		}
		h := p.handler(listening{addr: tc.addr})
		if warns := strings.Contains(log.String(), "set http.token"); warns != tc.warns {
			t.Errorf("%s with the token %q: %q", tc.addr, tc.token, log.String())
		}
		req := httptest.NewRequest(http.MethodGet, "/static/page.css", nil)
		req.Host = "cameras.example.com"
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, req); w.Code != tc.status {
			t.Errorf("%s with the token %q: %d, want %d", tc.addr, tc.token, w.Code, tc.status)
		}
	}
}
