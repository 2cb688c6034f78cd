package dial

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/internal/payloads"
	"github.com/cvfeeder/cvfeeder/publish"
)

// socket is the network connection below a NATS connection. The first write that fails
// ends it and discards what the kernel still holds. Otherwise a peer that stalls and
// comes back would get the stale frames in the kernel's buffer.
type socket struct {
	net.Conn
	timeout time.Duration    // of a write
	reader  *payloads.Reader // nil if the client reads all by itself
	writing sync.Mutex       // held for whole commands, which is what the client writes
	once    sync.Once
	cause   error // set by once
}

// SetWriteDeadline implements net.Conn. It does nothing, because the client would clear
// the deadline of another write. Each write sets its own.
func (s *socket) SetWriteDeadline(time.Time) error { return nil }

func (s *socket) begin() error { return s.Conn.SetWriteDeadline(time.Now().Add(s.timeout)) }

// Read implements net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	if s.reader != nil {
		return s.reader.Read(p)
	}
	return s.Conn.Read(p)
}

// Write implements net.Conn. After abort, every write fails with the cause.
func (s *socket) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.reader != nil {
		s.reader.Wrote(p)
	}
	n, err := 0, s.begin()
	if err == nil {
		n, err = s.Conn.Write(p)
	}
	if err != nil {
		err = s.abort(err)
	}
	return n, err
}

// writeMessage writes a valid message without copying its data.
func (s *socket) writeMessage(m publish.Message, reply string) error {
	pieces := net.Buffers{encode(m, reply), m.Data, []byte("\r\n")}
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.begin()
	if err == nil {
		_, err = pieces.WriteTo(s.Conn)
	}
	if err != nil {
		err = s.abort(err)
	}
	return err
}

// abort closes the connection without sending what is buffered. It returns the cause
// that was given to the first call.
func (s *socket) abort(cause error) error {
	s.once.Do(func() {
		s.cause = cause
		// Both fail only if the connection is closed already.
		if tcp, ok := s.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = s.Conn.Close()
	})
	return s.cause
}

// dialer makes sockets for the NATS client, over TCP or to a server in this process. It
// remembers the newest one.
type dialer struct {
	server  nats.InProcessConnProvider
	timeout time.Duration   // of a write
	large   *payloads.Store // where large payloads are received; nil if the client does it
	current atomic.Pointer[socket]
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	nd := net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	return d.keep(nd.Dial(network, address))
}

// InProcessConn implements nats.InProcessConnProvider.
func (d *dialer) InProcessConn() (net.Conn, error) {
	return d.keep(d.server.InProcessConn())
}

func (d *dialer) keep(c net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	s := &socket{Conn: c, timeout: d.timeout}
	if d.large != nil {
		s.reader = payloads.NewReader(c, d.large)
	}
	d.current.Store(s)
	return s, nil
}
