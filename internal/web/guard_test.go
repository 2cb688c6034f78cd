package web_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/web"
	"github.com/cvfeeder/cvfeeder/metrics"
)

const token = "a token of some length"

func guarded(t *testing.T, opts web.Options) *httptest.Server {
	t.Helper()
	opts.Status = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the page") })
	opts.Metrics = metrics.New(metrics.Build{})
	opts.Ready = func() (bool, []string) { return true, nil }
	srv := httptest.NewServer(web.Handler(opts))
	t.Cleanup(srv.Close)
	return srv
}

// fetch returns the answer to a request with a header.
func fetch(t *testing.T, srv *httptest.Server, path, host string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestToken(t *testing.T) {
	srv := guarded(t, web.Options{Token: token, Pprof: true})
	for _, tc := range []struct {
		path, authorization string
		status              int
	}{
		{"/healthz", "", 200},
		{"/readyz", "", 200},
		{"/", "", 401},
		{"/metrics", "", 401},
		{"/api/streams", "", 401},
		{"/static/page.js", "", 401},
		{"/debug/pprof/", "", 401},
		{"/nothing", "", 401},
		{"/login", "", 401},
		{"//healthz/../metrics", "", 401},
		{"/metrics", "Bearer " + token, 200},
		{"/metrics", "bearer  " + token + " ", 200},
		{"/", "Bearer " + token, 200},
		{"/", "Bearer " + token + "x", 401},
		{"/", "Bearer ", 401},
		{"/", "Basic " + token, 401},
		{"/", token, 401},
	} {
		header := []string{}
		if tc.authorization != "" {
			header = []string{"Authorization", tc.authorization}
		}
		resp, body := fetch(t, srv, tc.path, "", header...)
		if resp.StatusCode != tc.status {
			t.Errorf("GET %s with %q: %d %s", tc.path, tc.authorization, resp.StatusCode, body)
		}
		if tc.status == 401 && (resp.Header.Get("WWW-Authenticate") == "" || !strings.Contains(body, "Authorization: Bearer")) {
			t.Errorf("GET %s: the answer does not tell what to do: %s", tc.path, body)
		}
	}
}

// TestLogin shows the token as a browser does.
func TestLogin(t *testing.T) {
	srv := guarded(t, web.Options{Token: token})
	resp, form := fetch(t, srv, "/", "", "Accept", "text/html")
	if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(form, `action="/login"`) || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "style-src 'sha256-") {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, form)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	post := func(token string) (int, string) {
		t.Helper()
		resp, err := client.PostForm(srv.URL+"/login", url.Values{"token": {token}})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	for _, wrong := range []string{"", "wrong", strings.Repeat("x", 1<<20)} {
		if status, _ := post(wrong); status != 401 {
			t.Errorf("%.10s: %d", wrong, status)
		}
	}
	if status, body := post(token); status != 200 || body != "the page" {
		t.Errorf("%d %s", status, body)
	}
	u, _ := url.Parse(srv.URL)
	cookies := jar.Cookies(u)
	if len(cookies) != 1 || strings.Contains(cookies[0].Value, token) {
		t.Fatalf("%v", cookies)
	}
	// Of the cookie of another token nothing is believed.
	other := guarded(t, web.Options{Token: token + "2"})
	if resp, _ := fetch(t, other, "/", "", "Cookie", cookies[0].String()); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("another server: %d", resp.StatusCode)
	}
	again := guarded(t, web.Options{Token: token})
	if resp, _ := fetch(t, again, "/", "", "Cookie", cookies[0].String()); resp.StatusCode != http.StatusOK {
		t.Errorf("after a restart: %d", resp.StatusCode)
	}
}

func TestHostNames(t *testing.T) {
	srv := guarded(t, web.Options{Loopback: true})
	for host, status := range map[string]int{
		"": 200, "localhost": 200, "LOCALHOST:9177": 200, "cvf.localhost:9177": 200, "127.0.0.1:9177": 200,
		"[::1]:9177": 200, "[::1]": 200, "10.0.0.1": 200,
		"example.com": 403, "localhost.example.com:9177": 403, "127.0.0.1.example.com": 403,
	} {
		if resp, body := fetch(t, srv, "/api/streams", host); resp.StatusCode != status {
			t.Errorf("Host %q: %d %s", host, resp.StatusCode, body)
		}
	}
	if resp, _ := fetch(t, srv, "/healthz", "example.com"); resp.StatusCode != http.StatusOK {
		t.Errorf("health: %d", resp.StatusCode)
	}
	for _, srv := range []*httptest.Server{guarded(t, web.Options{}), guarded(t, web.Options{Token: token, Loopback: true})} {
		if resp, _ := fetch(t, srv, "/", "example.com", "Authorization", "Bearer "+token); resp.StatusCode != http.StatusOK {
			t.Errorf("with a token, or beyond loopback: %d", resp.StatusCode)
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	for _, path := range []string{"/", "/metrics", "/healthz"} {
		resp, _ := fetch(t, guarded(t, web.Options{}), path, "")
		for header, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
				"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
			"X-Content-Type-Options":       "nosniff",
			"Referrer-Policy":              "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := resp.Header.Get(header); got != want {
				t.Errorf("%s: %s is %q", path, header, got)
			}
		}
	}
}

// TestLoginDoesNotWait sends half of a form, and no more.
func TestLoginDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := web.Handler(web.Options{Metrics: http.NotFoundHandler(), Token: token, Status: http.NotFoundHandler()})
		client, server := net.Pipe()
		srv := &http.Server{Handler: h}
		go func() { _ = srv.Serve(&oneConn{conns: []net.Conn{server}, ended: make(chan struct{})}) }()
		begin := time.Now()
		go func() {
			_, _ = io.WriteString(client, "POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\ntoken=")
		}()
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if took := time.Since(begin); resp.StatusCode != http.StatusUnauthorized || took > 10*time.Second {
			t.Errorf("%d after %v", resp.StatusCode, took)
		}
		_ = client.Close()
		_ = srv.Close()
	})
}

// oneConn is a listener of the connections that there are.
type oneConn struct {
	conns []net.Conn
	ended chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if len(l.conns) == 0 {
		<-l.ended
		return nil, net.ErrClosed
	}
	c := l.conns[0]
	l.conns = l.conns[1:]
	return c, nil
}

func (l *oneConn) Close() error   { close(l.ended); return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
