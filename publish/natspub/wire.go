package natspub

import (
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
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
	once  sync.Once
	cause error // set by once
}

// Write implements net.Conn. Every write after the end fails with its cause.
func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if err != nil {
		err = w.abort(err)
	}
	return n, err
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
	w := &wire{Conn: c}
	d.current.Store(w)
	return w, nil
}
