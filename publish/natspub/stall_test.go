package natspub_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/natspub"
)

// proxy is a TCP connection in two parts, of which the one to the server can be
// stopped: it then reads nothing of what the client writes.
type proxy struct {
	net.Listener
	server string
	ended  chan struct{} // gets a value when all that a client wrote was passed on
	wg     sync.WaitGroup

	mu    sync.Mutex
	open  chan struct{} // closed while bytes flow
	only  string        // the name of the connection that can be stopped, "" for all
	conns []net.Conn
}

func startProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, server: strings.TrimPrefix(server, "nats://"), ended: make(chan struct{}, 100), open: make(chan struct{})}
	close(p.open)
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		p.resume()
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.Accept()
		if err != nil {
			return
		}
		// What the kernel takes while the proxy does not read is to be less than
		// one message.
		_ = client.(*net.TCPConn).SetReadBuffer(32 << 10)
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		p.wg.Go(func() { p.upstream(server, client) })
		p.wg.Go(func() { _, _ = io.Copy(client, server); _ = client.Close() })
	}
}

func (p *proxy) upstream(server, client net.Conn) {
	defer func() { _ = server.Close(); p.ended <- struct{}{} }()
	buf := make([]byte, 16<<10)
	mine := false
	for {
		n, err := client.Read(buf)
		p.mu.Lock()
		open := p.open
		mine = mine || p.only == "" || bytes.Contains(buf[:n], []byte(`"name":"cvfeeder `+p.only+`"`))
		p.mu.Unlock()
		if mine {
			<-open
		}
		if _, werr := server.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = make(chan struct{})
}

func (p *proxy) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

func TestStalledPeer(t *testing.T) {
	const timeout = 200 * time.Millisecond
	srv := startServer(t, natspub.ServerOptions{})
	for _, size := range []int{100_000, 1_000_000, 8_000_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			proxy := startProxy(t, srv.ClientURL())
			conn := dial(t, natspub.Options{URL: proxy.Addr().String(), WriteTimeout: timeout})
			sub := subscribe(t, srv.ClientURL(), subject)
			waitConnected(t, conn, sub)
			live := conn.Live()
			send(t, conn, numbered(0, 10))
			if got := number(next(t, sub)); got != "0" {
				t.Fatalf("message %s", got)
			}

			proxy.stall()
			reasons := map[string]int{}
			eventually(t, "the connection is given up", func() bool {
				start := time.Now()
				err := live.Publish(t.Context(), numbered(1, size))
				if took := time.Since(start); took > 2*timeout+time.Second {
					t.Errorf("Publish took %v", took)
				}
				if err == nil {
					return false
				}
				reasons[dropReason(t, err)]++
				return reasons[publish.DropDisconnected] > 0 || !conn.States()[0].Connected
			})
			for reason := range reasons {
				if reason != publish.DropSlow && reason != publish.DropDisconnected {
					t.Errorf("reasons: %v", reasons)
				}
			}

			proxy.resume()
			<-proxy.ended
			eventually(t, "a message goes out again", func() bool {
				return live.Publish(t.Context(), numbered(2, 10)) == nil
			})
			if got := number(next(t, sub)); got != "2" {
				t.Errorf("message %s of the time of the stall arrived after it", got)
			}
			if got := conn.States()[0].Reconnects; got == 0 {
				t.Error("the stalled connection was kept")
			}
		})
	}
}

// Small messages vanish in the buffers on the way, so that no write ever fails.
func TestPeerThatFallsBehind(t *testing.T) {
	const timeout = 2 * time.Second
	srv := startServer(t, natspub.ServerOptions{})
	proxy := startProxy(t, srv.ClientURL())
	conn := dial(t, natspub.Options{URL: proxy.Addr().String(), WriteTimeout: timeout})
	waitConnected(t, conn)
	proxy.stall()
	start := time.Now()
	var err error
	eventually(t, "a message is dropped", func() bool {
		err = conn.Live().Publish(t.Context(), numbered(1, 10))
		return err != nil
	})
	if took := time.Since(start); took >= timeout {
		t.Errorf("the first message was dropped only after %v", took)
	}
	if reason := dropReason(t, err); reason != publish.DropSlow {
		t.Errorf("reason %q", reason)
	}
	proxy.resume()
	eventually(t, "a message goes out again", func() bool {
		return conn.Live().Publish(t.Context(), numbered(2, 10)) == nil
	})
	if got := conn.States()[0].Reconnects; got != 0 {
		t.Errorf("%d reconnects of a connection that came back in time", got)
	}
}

func TestPublishersWaitingBehindAStallAreBounded(t *testing.T) {
	const timeout = 200 * time.Millisecond
	srv := startServer(t, natspub.ServerOptions{})
	proxy := startProxy(t, srv.ClientURL())
	conn := dial(t, natspub.Options{URL: proxy.Addr().String(), WriteTimeout: timeout})
	waitConnected(t, conn)
	proxy.stall()
	var wg sync.WaitGroup
	start := time.Now()
	errs := make(chan error, 16)
	for n := range cap(errs) {
		wg.Go(func() { errs <- conn.Live().Publish(t.Context(), numbered(n, 20_000_000)) })
	}
	wg.Wait()
	close(errs)
	reasons := map[string]int{}
	for err := range errs {
		reasons[dropReason(t, err)]++
	}
	// The first was in the middle of its write.
	if reasons[publish.DropSlow] == 0 {
		t.Errorf("no message was dropped as slow: %v", reasons)
	}
	if took := time.Since(start); took > 2*timeout+2*time.Second {
		t.Errorf("16 messages took %v to be dropped", took)
	}
	// Neither does the end wait for the peer.
	start = time.Now()
	_ = conn.Close(t.Context())
	if took := time.Since(start); took > 2*timeout+2*time.Second {
		t.Errorf("Close took %v", took)
	}
}

func TestConnectionThatConfirmsNothingIsGivenUp(t *testing.T) {
	srv := startServer(t, natspub.ServerOptions{})
	proxy := startProxy(t, srv.ClientURL())
	conn := dial(t, natspub.Options{URL: proxy.Addr().String(), WriteTimeout: 100 * time.Millisecond})
	waitConnected(t, conn)
	proxy.stall()
	send(t, conn, numbered(1, 10))
	eventually(t, "the connection is given up", func() bool { return !conn.States()[0].Connected })
}
