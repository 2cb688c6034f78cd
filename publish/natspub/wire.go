package natspub

import (
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
)

// errUnconfirmed is the cause of a connection given up by [pulse]. To callers it
// is a timeout like that of a write.
var errUnconfirmed = fmt.Errorf("the server confirms nothing any more: %w", os.ErrDeadlineExceeded)

// wire is the network connection under a NATS one. The first write that fails
// ends it, and ends it hard: what the kernel still holds is thrown away. A peer
// that stalls and comes back would otherwise be sent, late, the frames that were
// waiting in the socket's buffer.
type wire struct {
	net.Conn
	timeout time.Duration // of a write
	turn    sync.Mutex    // of whole writes: the client writes whole commands
	once    sync.Once
	cause   error // set by once
}

// SetWriteDeadline implements net.Conn. Each write has a deadline of its own, begun
// when its turn comes: the client's would clear that of another write.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

func (w *wire) begin() error { return w.Conn.SetWriteDeadline(time.Now().Add(w.timeout)) }

// Write implements net.Conn. Every write after the end fails with its cause.
func (w *wire) Write(p []byte) (int, error) {
	w.turn.Lock()
	defer w.turn.Unlock()
	n, err := 0, w.begin()
	if err == nil {
		n, err = w.Conn.Write(p)
	}
	if err != nil {
		err = w.abort(err)
	}
	return n, err
}

// writeMessage writes m from where it is. The client would copy it into a buffer of
// its own first, which costs a tenth of all that is done for a tensor, and memory.
func (w *wire) writeMessage(m publish.Message, reply string) error {
	header := headerBlock(m.Header)
	buffers := net.Buffers{
		fmt.Appendf(nil, "HPUB %s %s %d %d\r\n%s", m.Subject, reply, len(header), len(header)+len(m.Data), header),
		m.Data, []byte("\r\n"),
	}
	w.turn.Lock()
	defer w.turn.Unlock()
	err := w.begin()
	if err == nil {
		_, err = buffers.WriteTo(w.Conn)
	}
	if err != nil {
		err = w.abort(err)
	}
	return err
}

// headerBlock returns headers as they go over the wire: see [publish.HeaderSize].
func headerBlock(h map[string][]string) []byte {
	b := []byte("NATS/1.0\r\n")
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, strings.Trim(v, " \t\r\n")...)
			b = append(b, "\r\n"...)
		}
	}
	return append(b, "\r\n"...)
}

// abort closes the connection without sending what is buffered, and returns the
// cause of the first call.
func (w *wire) abort(cause error) error {
	w.once.Do(func() {
		w.cause = cause
		// Both can only fail on a connection that is closed already.
		if tcp, ok := w.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = w.Conn.Close()
	})
	return w.cause
}

// dialer makes wires for the NATS client, over TCP or to a server in this
// process, and knows the newest one.
type dialer struct {
	server  *Server
	timeout time.Duration // of a write
	current atomic.Pointer[wire]
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	nd := net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	return d.keep(nd.Dial(network, address))
}

// InProcessConn implements nats.InProcessConnProvider.
func (d *dialer) InProcessConn() (net.Conn, error) {
	return d.keep(d.server.srv.InProcessConn())
}

func (d *dialer) keep(c net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: c, timeout: d.timeout}
	d.current.Store(w)
	return w, nil
}
