// Package embedded runs a NATS server in this process. It is the only package of the
// program that links nats-server.
//
//	server, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:4222"})
//	if err != nil {
//		return err
//	}
//	defer server.Shutdown()
//
// Other processes connect to [Server.ClientURL]. This process does not need a socket: set
// the option Server of publish/nats/dial.
package embedded

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// Options are the options of a [Server]. The zero value listens on
// [dial.DefaultAddress], accepts messages of up to 64 MiB, and has no JetStream.
type Options struct {
	// Listen is the address for clients. Port 0 is any free port. Default:
	// [dial.DefaultAddress].
	Listen string
	// MaxPayload is the largest message in bytes. Default, and the most that is
	// allowed: [publish.MaxServerPayload].
	MaxPayload int
	// StoreDir is where JetStream keeps its streams. Default: JetStream is off.
	StoreDir string
	// Logger gets the server's warnings and errors. Default: they are discarded.
	Logger *slog.Logger
}

// A Server is a NATS server in this process.
type Server struct{ srv *server.Server }

// Start starts a server, and returns when it accepts connections. If the address is in
// use, the error comes at once.
func Start(o Options) (*Server, error) {
	opts, err := o.server()
	if err != nil {
		return nil, err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("NATS server: %w", err)
	}
	log := &serverLog{log: o.Logger}
	if log.log == nil {
		log.log = slog.New(slog.DiscardHandler)
	}
	srv.SetLoggerV2(log, false, false, false)
	s := &Server{srv}
	srv.Start()
	if err := log.fatal(); err != nil {
		s.Shutdown()
		return nil, fmt.Errorf("NATS server on %s: %w: stop what listens there, or choose another address", o.Listen, err)
	}
	if !srv.ReadyForConnections(5 * time.Second) {
		s.Shutdown()
		return nil, fmt.Errorf("NATS server on %s: not ready after 5s", o.Listen)
	}
	return s, nil
}

// ClientURL returns the URL for clients.
func (s *Server) ClientURL() string { return s.srv.ClientURL() }

// InProcessConn returns the client's end of a connection without a socket.
func (s *Server) InProcessConn() (net.Conn, error) { return s.srv.InProcessConn() }

// Shutdown closes the server's connections, stops it, and waits until it has stopped.
func (s *Server) Shutdown() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

func (o *Options) server() (*server.Options, error) {
	if o.Listen == "" {
		o.Listen = dial.DefaultAddress
	}
	host, portText, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("NATS server: address %q is not like %s: %w", o.Listen, dial.DefaultAddress, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("NATS server: address %q: port %q is not a number from 0 to 65535", o.Listen, portText)
	}
	opts := &server.Options{
		Host: host, Port: int(port),
		NoSigs: true,
		// A slow reader loses its connection instead of slowing down the feeder.
		NoFastProducerStall: true,
	}
	if port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	switch {
	case o.MaxPayload < 0 || o.MaxPayload > publish.MaxServerPayload:
		return nil, fmt.Errorf("NATS server: a max_payload of %d bytes is not between 1 and %d", o.MaxPayload, publish.MaxServerPayload)
	case o.MaxPayload == 0:
		opts.MaxPayload = publish.MaxServerPayload
	default:
		opts.MaxPayload = int32(o.MaxPayload)
	}
	if o.StoreDir != "" {
		opts.JetStream, opts.StoreDir = true, o.StoreDir
	}
	return opts, nil
}

// serverLog passes the server's warnings and errors on, and keeps the first fatal
// one for Start to return.
type serverLog struct {
	log *slog.Logger

	mu    sync.Mutex
	first error
}

func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

// Fatalf implements server.Logger.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil {
		l.first = fmt.Errorf(format, v...)
	}
}

// Errorf implements server.Logger.
func (l *serverLog) Errorf(format string, v ...any) {
	l.log.Error("the NATS server reports an error", "err", fmt.Sprintf(format, v...))
}

// Warnf implements server.Logger. A max_payload above 8 MB is what was asked for.
func (l *serverLog) Warnf(format string, v ...any) {
	if !strings.HasPrefix(format, "Maximum payloads over") {
		l.log.Warn("the NATS server warns", "err", fmt.Sprintf(format, v...))
	}
}

// Noticef implements server.Logger.
func (l *serverLog) Noticef(string, ...any) {}

// Debugf implements server.Logger.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef implements server.Logger.
func (l *serverLog) Tracef(string, ...any) {}
