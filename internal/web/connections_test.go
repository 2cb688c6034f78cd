package web_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/web"
)

// TestHealthWhateverIsHeld: health is answered while others hold as many connections as they
// can, in any way, and those are not kept.
func TestHealthWhateverIsHeld(t *testing.T) {
	t.Parallel()
	const held, kept = 600, 256
	address := serve(t, web.Handler(web.Options{Metrics: http.NotFoundHandler(), Ready: func() (bool, []string) { return true, nil }, Token: token}))
	ways := []string{
		"", "GET / HT", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx",
		"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\nt",
		"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n",
	}
	var conns []net.Conn
	for n := range held {
		conn := dial(t, address)
		if _, err := io.WriteString(conn, ways[n%len(ways)]); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		if n%100 == 99 {
			if status := health(t, address); status != http.StatusOK {
				t.Fatalf("health with %d connections: %d", n, status)
			}
		}
	}
	closed, end := 0, time.Now().Add(time.Minute)
	for _, conn := range conns[:held-kept] {
		_ = conn.SetReadDeadline(end)
		if _, err := io.Copy(io.Discard, conn); !errors.Is(err, os.ErrDeadlineExceeded) {
			closed++
		}
	}
	if closed != held-kept {
		t.Errorf("%d of the first %d connections were closed", closed, held-kept)
	}
}

// serve serves on the loopback until the test ends.
func serve(t *testing.T, h http.Handler) (address string) {
	t.Helper()
	l, err := web.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { web.Serve(ctx, l, h, slog.New(slog.DiscardHandler)) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return l.Addr().String()
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: time.Minute}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func health(t *testing.T, address string) int {
	t.Helper()
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// TestBodiesDoNotWait: a request with a body that does not come is answered, and its
// connection ends soon.
func TestBodiesDoNotWait(t *testing.T) {
	t.Parallel()
	address := serve(t, web.Handler(web.Options{Metrics: http.NotFoundHandler(), Ready: func() (bool, []string) { return true, nil }}))
	var all sync.WaitGroup
	defer all.Wait()
	for _, request := range []string{
		"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nx",
		"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
	} {
		conn := dial(t, address)
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			answer, err := io.ReadAll(conn)
			if errors.Is(err, os.ErrDeadlineExceeded) || !strings.HasPrefix(string(answer), "HTTP/1.1 ") {
				t.Errorf("%q: %q, %v", request, answer, err)
			}
		})
	}
}

// TestReadyzOfStrangers: who does not show the token learns that frames do not flow, and no
// name; what came from outside is one clean line.
func TestReadyzOfStrangers(t *testing.T) {
	why := []string{
		"NATS: connection data-1 is not up", "stream front-door: AccessDenied arn:aws:kinesisvideo:eu-west-1:111122223333:stream/front-door",
		"stream back-door: \x1b[2J\r\n" + strings.Repeat("x", 1<<20), "prefix yard: its streams could not be looked up",
	}
	for _, tc := range []struct {
		token, shown string
		full         bool
	}{{"", "", true}, {token, token, true}, {token, "", false}, {token, "wrong", false}} {
		h := web.Handler(web.Options{Metrics: http.NotFoundHandler(), Ready: func() (bool, []string) { return false, slices.Clone(why) }, Token: tc.token})
		srv := serve(t, h)
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+srv+"/readyz", nil)
		req.Header.Set("Authorization", "Bearer "+tc.shown)
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		text := string(body)
		if resp.StatusCode != http.StatusServiceUnavailable || len(text) > 8<<10 || strings.ContainsAny(text, "\x1b\r") || strings.Count(text, "\n") > len(why)+1 {
			t.Errorf("%+v: %d, %d bytes: %.300q", tc, resp.StatusCode, len(text), text)
		}
		if !tc.full && text != "not ready\nnats\nstream\nprefix\n" || tc.full && !strings.Contains(text, "front-door") {
			t.Errorf("%+v: %.300q", tc, text)
		}
	}
}
