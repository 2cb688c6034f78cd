package main

import (
	"bufio"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// The operations are attacked in two groups, as the second is only asked when the first has
// answered.
var (
	controlPlane = []string{"/listStreams", "/describeStream", "/getDataEndpoint"}
	dataPlane    = []string{"/listFragments", "/getImages"}
)

// A body is an answer without end.
type body struct {
	status     int
	head, rest string // rest comes again and again
	gzip       bool
	every      time.Duration // one byte comes so often; 0: as fast as it goes
}

func serviceAttacks() []attack {
	const memory = 256
	var all []attack
	for _, a := range []struct {
		name string
		body body
	}{
		{"error that inflates (gzip), any operation", body{status: 500, head: `{"message":"`, rest: "x", gzip: true}},
		{"error without end, any operation", body{status: 500, head: `{"message":"`, rest: "x"}},
		{"error of white space, any operation", body{status: 400, rest: " \n"}},
		{"error of unknown keys, any operation", body{status: 503, head: `{"a":1`, rest: `,"b":[{}]`}},
		{"answer that inflates (gzip), any operation", body{status: 200, head: `{"NextToken":"`, rest: "x", gzip: true}},
		{"answer without end, any operation", body{status: 200, head: `{"NextToken":"`, rest: "x"}},
		{"answer of white space, any operation", body{status: 200, rest: " \n"}},
		{"answer of unknown keys, any operation", body{status: 200, head: `{"a":1`, rest: `,"b":[{}]`}},
		{"images without end", body{status: 200, head: `{"Images":[{}`, rest: `,{}`}},
		{"answer that drips, any operation", body{status: 200, head: `{"a":"`, rest: "x", every: 200 * time.Millisecond}},
	} {
		all = append(all, attack{name: a.name, memory: memory, run: func(t *testing.T, _ attack) outcome {
			return besetByBodies(t, a.body)
		}})
	}
	return append(all,
		attack{name: "900 KB of error text with ESC, CR and NUL", memory: memory, quick: true, run: besetByText},
		attack{name: "data endpoint at a foreign host, or by http; redirects", memory: memory, run: besetByEndpoints},
	)
}

// serve answers until the client has enough.
func (b body) serve(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	out := io.Writer(w)
	if b.gzip {
		w.Header().Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		defer func() { _ = z.Close() }()
		out = z
	}
	w.WriteHeader(b.status)
	_, err := io.WriteString(out, b.head)
	block := []byte(b.rest)
	if b.every == 0 {
		block = []byte(strings.Repeat(b.rest, 64<<10/len(b.rest)))
	}
	for err == nil {
		if b.every > 0 {
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(b.every):
			case <-r.Context().Done():
				return
			}
		}
		_, err = out.Write(block)
	}
}

// besetByBodies answers with it in place of the control plane, from the start, and then in
// place of the data plane.
func besetByBodies(t *testing.T, b body) outcome {
	var hits [2]atomic.Int64
	var group atomic.Int64
	groups := [][]string{controlPlane, dataPlane}
	s := besiege(t, siegeOptions{
		hostile: func(w http.ResponseWriter, r *http.Request) bool {
			at := group.Load()
			for _, path := range groups[at] {
				if r.URL.Path == path {
					hits[at].Add(1)
					b.serve(w, r)
					return true
				}
			}
			return false
		},
	})
	hold := func(at int) {
		s.await("the answers are read", siegeWithin, func() bool { return hits[at].Load() >= 3 })
		pause(5 * time.Second)
	}
	hold(0)
	group.Store(1)
	hold(1)
	s.hostile.Store(nil)
	back := s.flows("cam-1", "cam-2")
	return s.finish("%d and %d hostile answers; flows again after %.0f s", hits[0].Load(), hits[1].Load(), back.Seconds())
}

// besetByText answers with an error as long as is read, of what a terminal takes for
// commands.
func besetByText(t *testing.T, _ attack) outcome {
	// Brackets would count as values, of which an answer may have few.
	text := strings.Repeat(`\u001bc\r\n\u0000\u009b31m`+"\u202e evil ", 900<<10/40)
	var hits atomic.Int64
	s := besiege(t, siegeOptions{hostile: func(w http.ResponseWriter, r *http.Request) bool {
		hits.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Amzn-Errortype", "EvilException")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"message":"%s"}`, text)
		return true
	}})
	var ready string
	s.await("the error is told", siegeWithin, func() bool {
		_, ready = s.get(t.Context(), "/readyz")
		return strings.Contains(ready, " evil ") && strings.Contains(s.feeder.out.String(), " evil ")
	})
	checkClean(t, "/readyz", ready)
	s.hostile.Store(nil)
	back := s.flows("cam-1", "cam-2")
	return s.finish("a log of %d bytes and %d bytes of /readyz for %d errors; flows again after %.0f s",
		len(s.feeder.out.String()), len(ready), hits.Load(), back.Seconds())
}

// besetByEndpoints has the control plane name endpoints that are not the service's, and the
// data plane redirect to one. Nothing is sent there.
func besetByEndpoints(t *testing.T, _ attack) outcome {
	var trapped atomic.Int64
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { trapped.Add(1) }))
	t.Cleanup(trap.Close)

	evil := askAtHome(t)
	var named, redirected atomic.Int64
	var redirect atomic.Bool
	s := besiege(t, siegeOptions{tls: true, hostile: func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/getDataEndpoint" && !redirect.Load():
			named.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = fmt.Fprintf(w, `{"DataEndpoint":%q}`, trap.URL)
		case r.URL.Path == "/getImages" && redirect.Load():
			redirected.Add(1)
			http.Redirect(w, r, trap.URL, http.StatusTemporaryRedirect)
		default:
			return false
		}
		return true
	}})
	s.await("endpoints are named", siegeWithin, func() bool { return named.Load() >= 3 })
	redirect.Store(true)
	s.await("requests are redirected", siegeWithin, func() bool { return redirected.Load() >= 3 })
	s.hostile.Store(nil)
	back := s.flows("cam-1", "cam-2")
	if n := trapped.Load(); n > 0 {
		t.Errorf("%d requests were sent to the wrong address", n)
	}
	return s.finish("%d wrong addresses, to which nothing was sent; flows again after %.0f s", evil+named.Load()+redirected.Load(), back.Seconds())
}

// atHome is where the SDK looks for the control plane.
const atHome = "kinesisvideo.us-east-1.amazonaws.com"

// askAtHome runs a feeder for the service's own names, which a proxy leads to a fake. That
// names a data endpoint at a foreign host, to which no connection is made. It returns how
// often the endpoint was named.
func askAtHome(t *testing.T) int64 {
	t.Helper()
	fake, err := kinesistest.New(kinesistest.Options{Scene: feedertest.Grey{}, Streams: kinesistest.Cameras(2)})
	if err != nil {
		t.Fatal(err)
	}
	var evil, reached atomic.Int64
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/getDataEndpoint" {
			fake.ServeHTTP(w, r)
			return
		}
		evil.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(w, `{"DataEndpoint":"https://%s.evil.example"}`, atHome)
	}))
	ca := natstest.NewAuthority(t)
	cert, err := tls.LoadX509KeyPair(ca.Sign(t, "front", atHome))
	if err != nil {
		t.Fatal(err)
	}
	front.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	front.StartTLS()
	t.Cleanup(front.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != atHome+":443" {
			reached.Add(1)
		}
		splice(w, front.Listener.Addr().String())
	}))
	t.Cleanup(proxy.Close)
	file := filepath.Join(t.TempDir(), "cvfeeder.yaml")
	text := fmt.Sprintf(siegeConfig, "", feedertest.ServeNATS(t), "", "")
	natstest.WriteFile(t, file, []byte(text))
	p := &process{t: t, args: []string{"cvfeeder", "run", "-c", file}, env: []string{"HTTPS_PROXY=" + proxy.URL, "AWS_CA_BUNDLE=" + ca.File}}
	p.start()
	defer p.kill()
	for deadline := time.After(siegeWithin); evil.Load() < 3 || !strings.Contains(p.out.String(), "evil.example"); {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-p.done:
			t.Fatalf("the feeder has ended: %v\n%s", p.err, p.out)
		case <-deadline:
			t.Fatalf("the endpoint was named %d times\n%s", evil.Load(), p.out)
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d connections went to other hosts\n%s", n, p.out)
	}
	return evil.Load()
}

// splice connects a client that asks for a connection with an address.
func splice(w http.ResponseWriter, address string) {
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	_, _ = io.WriteString(client, "HTTP/1.1 200 Connected\r\n\r\n")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(server, bufio.NewReader(buffered))
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
	_ = client.Close()
	<-done
}
