package natspub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"
)

// link is one NATS connection that is made again for as long as it is not
// closed. What it knows of its state comes from the client's callbacks and is
// read without the client's lock, which is held while a message is written.
type link struct {
	name    string
	log     *slog.Logger
	timeout time.Duration
	nc      *nats.Conn
	dialer  *dialer
	closed  chan struct{} // closed by the last callback

	closing    atomic.Bool
	connected  atomic.Bool
	reconnects atomic.Uint64
	errors     atomic.Uint64
	maxPayload atomic.Int64
	plain      atomic.Pointer[wire]  // for messages past the client; nil for none
	failed     atomic.Pointer[error] // an attempt to connect
	denied     atomic.Pointer[PermissionError]
	onConnect  func(maxPayload int)
	onDenied   func(error)
	lenient    bool // what is denied is only logged

	mu sync.Mutex
	up chan struct{} // closed while connected
}

// newLink starts to connect. It does not wait for a server, except for one that
// neither accepts nor refuses: dialTimeout for each.
func newLink(o Options, name string, onConnect func(int)) (*link, error) {
	servers, err := o.servers()
	if err != nil && o.Server == nil {
		return nil, err
	}
	l := &link{
		name:      name,
		timeout:   o.WriteTimeout,
		log:       o.Logger.With("connection", name, "server", o.display()),
		dialer:    &dialer{server: o.Server, timeout: o.WriteTimeout},
		closed:    make(chan struct{}),
		onConnect: onConnect,
		onDenied:  o.OnDenied,
		lenient:   name == serviceLink,
		up:        make(chan struct{}),
	}
	opts := l.options(o, servers)
	if err := o.authenticate(&opts); err != nil {
		return nil, err
	}
	l.nc, err = opts.Connect()
	if err != nil {
		return nil, fmt.Errorf("NATS connection %s: %w", name, err)
	}
	return l, nil
}

func (l *link) options(o Options, servers []string) nats.Options {
	outage := &outage{log: l.log}
	opts := nats.GetDefaultOptions()
	opts.Servers = servers
	opts.Name = o.Name + " " + l.name
	opts.CustomDialer = l.dialer
	if o.Server != nil {
		opts.InProcessServer = l.dialer
	}
	opts.SkipHostLookup = true // the dialer looks up, within its timeout

	// Keep trying for ever, and keep nothing back meanwhile: what was buffered
	// would arrive stale.
	opts.RetryOnFailedConnect = true
	opts.IgnoreAuthErrorAbort = true
	opts.MaxReconnect = -1
	opts.ReconnectBufSize = -1
	opts.ReconnectWait = o.ReconnectWait
	opts.ReconnectJitter = o.ReconnectWait / 5
	opts.ReconnectJitterTLS = o.ReconnectWait / 5
	opts.Timeout = dialTimeout
	opts.FlusherTimeout = o.WriteTimeout
	opts.PingInterval = 5 * time.Second
	opts.MaxPingsOut = 2

	opts.ConnectedCB = func(nc *nats.Conn) { outage.over(); l.setUp(nc) }
	opts.ReconnectedCB = func(nc *nats.Conn) { l.reconnects.Add(1); outage.over(); l.setUp(nc) }
	opts.DisconnectedErrCB = func(_ *nats.Conn, err error) {
		l.setDown()
		if !l.closing.Load() {
			outage.began(err)
		}
	}
	opts.ReconnectErrCB = func(_ *nats.Conn, err error) { l.failed.Store(&err); outage.began(err) }
	opts.ClosedCB = func(*nats.Conn) { l.setDown(); close(l.closed) }
	opts.AsyncErrorCB = l.asyncError()
	opts.LameDuckModeHandler = func(*nats.Conn) { l.log.Info("the NATS server is about to stop") }
	opts.DiscoveredServersCB = func(*nats.Conn) { l.log.Debug("more NATS servers are known") }
	return opts
}

// asyncError returns the handler of errors that belong to no call, among them a
// denied permission. They can come with every message, so a second has at most
// one line.
func (l *link) asyncError() nats.ErrHandler {
	var seldom rate.Sometimes
	seldom.First, seldom.Interval = 1, time.Second
	return func(_ *nats.Conn, sub *nats.Subscription, err error) {
		if p, ok := violation(err); ok && isOwn(p) {
			return
		}
		l.errors.Add(1)
		if l.deny(err) != nil && l.onDenied != nil {
			return
		}
		seldom.Do(func() {
			args := []any{"err", err}
			if sub != nil {
				args = append(args, "subject", sub.Subject)
			}
			l.log.Warn("NATS reports an error", args...)
		})
	}
}

// deny returns err as a PermissionError where it is one of a message or a
// subscription, otherwise nil, and keeps and tells the first.
func (l *link) deny(err error) error {
	p, ok := violation(err)
	if !ok || isOwn(p) || l.lenient {
		return nil
	}
	denied := &PermissionError{Missing: []Permission{p}}
	if l.denied.CompareAndSwap(nil, denied) && l.onDenied != nil {
		l.onDenied(denied)
	}
	return denied
}

func (l *link) setUp(nc *nats.Conn) {
	l.failed.Store(nil)
	l.maxPayload.Store(nc.MaxPayload())
	l.plain.Store(l.plainWire(nc))
	l.mu.Lock()
	if !l.connected.Swap(true) {
		close(l.up)
	}
	l.mu.Unlock()
	if l.onConnect != nil {
		l.onConnect(int(l.maxPayload.Load()))
	}
}

// plainWire returns the wire of the connection that was made, where that is no
// TLS or WebSocket, and no newer one is being made already; otherwise nil.
func (l *link) plainWire(nc *nats.Conn) *wire {
	w := l.dialer.current.Load()
	_, err := nc.TLSConnectionState()
	webSocket := strings.HasPrefix(nc.ConnectedUrl(), "ws")
	if err == nil || webSocket || !nc.IsConnected() || l.dialer.current.Load() != w {
		return nil
	}
	return w
}

func (l *link) setDown() {
	l.plain.Store(nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.connected.Swap(false) {
		l.up = make(chan struct{})
	}
}

func (l *link) waitUp() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up
}

// waitConnected returns once the link is connected. It returns early, with
// ErrRefused, where client and server refuse each other.
func (l *link) waitConnected(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-l.waitUp():
			return nil
		case <-l.closed:
			return fmt.Errorf("%w: closed", ErrNotConnected)
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrNotConnected, ctx.Err())
		case <-tick.C:
			if err := l.refused(); err != nil {
				return err
			}
		}
	}
}

// refused returns why an attempt to connect was refused, where one was. The client
// tells a callback of the first attempt, and of those that do not get as far as TLS;
// of the others it only keeps the error.
func (l *link) refused() error {
	if failed := l.failed.Load(); failed != nil {
		if err := refusal(*failed); err != nil {
			return err
		}
	}
	return refusal(l.nc.LastError())
}

// flush returns when the server has processed all that was written before, or
// where ctx has no deadline after the write timeout.
func (l *link) flush(ctx context.Context) error {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.timeout)
		defer cancel()
	}
	if !l.connected.Load() {
		return fmt.Errorf("connection %s: %w", l.name, ErrNotConnected)
	}
	if err := l.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("connection %s: %w", l.name, err)
	}
	// What was refused is known by now, if not yet told.
	return l.deny(l.nc.LastError())
}

// abandon throws away what is being written, so that closing does not wait for a
// peer that stalls.
func (l *link) abandon() {
	l.closing.Store(true)
	if w := l.dialer.current.Load(); w != nil {
		_ = w.abort(errClosed)
	}
}

// close ends the link and waits for its last callback. What was written and not
// flushed is lost.
func (l *link) close() {
	l.closing.Store(true)
	l.nc.Close()
	<-l.closed
}

// outage logs the start and the end of a time without a connection, once each.
// It belongs to the goroutine of the client's callbacks.
type outage struct {
	log *slog.Logger
	on  bool
}

func (o *outage) began(err error) {
	if err == nil {
		err = errors.New("connection lost")
	}
	log := o.log.Warn
	if o.on {
		log = o.log.Debug
	}
	o.on = true
	log("NATS is not reachable, trying on", "err", err)
}

func (o *outage) over() {
	if o.on {
		o.log.Info("NATS is connected")
	}
	o.on = false
}
