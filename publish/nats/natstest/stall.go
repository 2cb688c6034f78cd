package natstest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// A StallProxy is a TCP connection in two parts, of which the one to the server can be
// stopped: it then reads nothing of what the client writes.
type StallProxy struct {
	net.Listener
	server string
	// Ended gets a value when all that a client wrote was passed on.
	Ended chan struct{}
	// Only is the name of the connection that can be stopped, "" for all. It is set
	// before the first connection is made.
	Only string

	wg sync.WaitGroup

	mu    sync.Mutex
	open  chan struct{} // closed while bytes flow
	conns []net.Conn
	// version, if set, is the server's as clients are told.
	version string
}

// NewStallProxy starts one before the server with the URL, for the length of the
// test.
func NewStallProxy(t *testing.T, server string) *StallProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &StallProxy{Listener: l, server: strings.TrimPrefix(server, "nats://"), Ended: make(chan struct{}, 100), open: make(chan struct{})}
	close(p.open)
	p.wg.Go(func() { p.accept(t.Context()) })
	t.Cleanup(func() {
		p.Resume()
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

func (p *StallProxy) accept(ctx context.Context) {
	for {
		client, err := p.Accept()
		if err != nil {
			return
		}
		// What the kernel takes while the proxy does not read is to be less than
		// one message.
		_ = client.(*net.TCPConn).SetReadBuffer(32 << 10)
		server, err := new(net.Dialer).DialContext(ctx, "tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		p.wg.Go(func() { p.upstream(server, client) })
		p.wg.Go(func() { p.downstream(client, server) })
	}
}

var version = regexp.MustCompile(`"version":"[^"]*"`)

func (p *StallProxy) downstream(client, server net.Conn) {
	defer func() { _ = client.Close() }()
	p.mu.Lock()
	pretended := p.version
	p.mu.Unlock()
	if pretended == "" {
		_, _ = io.Copy(client, server)
		return
	}
	// The server tells about itself whenever something has changed, each time in one line.
	lines := bufio.NewReader(server)
	for {
		line, err := lines.ReadBytes('\n')
		if bytes.HasPrefix(line, []byte("INFO ")) {
			line = version.ReplaceAll(line, fmt.Appendf(nil, `"version":%q`, pretended))
		}
		if _, werr := client.Write(line); err != nil || werr != nil {
			return
		}
	}
}

func (p *StallProxy) upstream(server, client net.Conn) {
	defer func() { _ = server.Close(); p.Ended <- struct{}{} }()
	buf := make([]byte, 16<<10)
	mine := false
	for {
		n, err := client.Read(buf)
		p.mu.Lock()
		open := p.open
		mine = mine || p.Only == "" || bytes.Contains(buf[:n], []byte(`"name":"cvfeeder `+p.Only+`"`))
		p.mu.Unlock()
		if mine {
			<-open
		}
		if _, werr := server.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// Pretend tells clients that connect from now on that the server has another version.
func (p *StallProxy) Pretend(version string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.version = version
}

// Stall stops reading what clients write.
func (p *StallProxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = make(chan struct{})
}

// Resume reads again.
func (p *StallProxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}
