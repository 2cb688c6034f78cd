package dial

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
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/internal/payloads"
)

// A Connection is one NATS connection. It reconnects until it is closed. It learns of
// its state from the client's callbacks, so that reading the state does not need the
// client's lock, which is held while a message is written.
type Connection struct {
	name    string
	log     *slog.Logger
	timeout time.Duration
	open    func() (*client, error)
	reopens bool // see reopen
	limit   limitDoubt
	current atomic.Pointer[client]
	opening sync.Mutex // held while current is made, and while closing is set
	dialer  *dialer
	closed  chan struct{} // closed by the last callback

	ending     atomic.Bool // takes no more messages
	closing    atomic.Bool
	connected  atomic.Bool
	reconnects atomic.Uint64
	errors     atomic.Uint64
	// unconfirmed is State.Unconfirmed.
	unconfirmed atomic.Uint64
	maxPayload  atomic.Int64
	plain       atomic.Pointer[socket] // to write to past the client; nil for none
	buffered    atomic.Bool            // the client may have buffered a message
	failed      atomic.Pointer[error]  // an attempt to connect
	denied      atomic.Pointer[PermissionError]
	allowed     atomic.Pointer[error] // the last error when all was allowed; see [Conn.Granted]
	onConnect   func(maxPayload int)
	onDenied    func(error)
	lenient     bool // what is denied is only logged
	direct      bool // large messages may be written past the client

	mu       sync.Mutex
	up       chan struct{} // closed while connected
	reopened []func(*nats.Conn)
}

// A client is what the connection consists of until the client gives it up.
type client struct {
	nc *nats.Conn
	js jetstream.JetStream
}

// Connect starts a single connection, for programs that need no more, such as
// consumers. The server shows it by [Options.Name] followed by name. Like [Dial], it
// returns without waiting for a server that is down; it waits two seconds for one that
// does not answer. An error means that the options are wrong.
func Connect(o Options, name string) (*Connection, error) {
	return newConnection(o.withDefaults(), name)
}

// ConnectReader is like [Connect], for a connection that reads tensors. Messages of its
// subscriptions do not have their large payloads, unless [Options.NoDirectReads] is set:
// [payloads.Store.Data] returns them.
func ConnectReader(o Options, name string, large *payloads.Store) (*Connection, error) {
	if !o.NoDirectReads {
		o.large = large
	}
	return newConnection(o.withDefaults(), name)
}

func newConnection(o Options, name string) (*Connection, error) {
	servers, err := o.servers()
	if err != nil && o.Server == nil {
		return nil, err
	}
	c := &Connection{
		name:      name,
		timeout:   o.WriteTimeout,
		log:       o.Logger.With("connection", name, "server", o.display()),
		dialer:    &dialer{server: o.Server, timeout: o.WriteTimeout, large: o.large},
		closed:    make(chan struct{}),
		onConnect: o.OnConnect,
		onDenied:  o.OnDenied,
		lenient:   o.lenient,
		reopens:   o.reopens,
		direct:    !o.NoDirectWrites,
		up:        make(chan struct{}),
	}
	opts := c.options(o, servers)
	if o.InboxPrefix != "" {
		if err := nats.CustomInboxPrefix(o.InboxPrefix)(&opts); err != nil {
			return nil, fmt.Errorf("inbox prefix %q: %w", o.InboxPrefix, err)
		}
	}
	if err := o.authenticate(&opts); err != nil {
		return nil, err
	}
	c.open = func() (*client, error) {
		nc, err := opts.Connect()
		if err != nil {
			return nil, err
		}
		js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(c.timeout))
		return &client{nc, js}, err
	}
	c.limit = newLimitDoubt(opts, o)
	first, err := c.open()
	if err != nil {
		return nil, fmt.Errorf("NATS connection %s: %w", name, err)
	}
	c.current.Store(first)
	return c, nil
}

// Name returns "data", "data-2" and so on, "control", or the name that was given to
// [Connect] or [Conn.Open].
func (c *Connection) Name() string { return c.name }

// Client returns the NATS client. Its methods block while a message is written.
// Messages published through it are not ordered with those of [Connection.Publish].
func (c *Connection) Client() *nats.Conn { return c.current.Load().nc }

// JetStream returns the JetStream client of the connection. Calls whose contexts have no
// deadline wait for [Connection.WriteTimeout].
func (c *Connection) JetStream() jetstream.JetStream { return c.current.Load().js }

// Log returns the logger for events of the connection.
func (c *Connection) Log() *slog.Logger { return c.log }

// WriteTimeout returns [Options.WriteTimeout].
func (c *Connection) WriteTimeout() time.Duration { return c.timeout }

// Connected tells whether the connection is up.
func (c *Connection) Connected() bool { return c.connected.Load() }

// Reconnects returns how often the connection has reconnected.
func (c *Connection) Reconnects() uint64 { return c.reconnects.Load() }

// MaxPayload returns the max_payload in bytes of the server that was connected to last,
// or 0 before the first connection.
func (c *Connection) MaxPayload() int { return int(c.maxPayload.Load()) }

func (c *Connection) options(o Options, servers []string) nats.Options {
	outage := &outage{log: c.log}
	opts := nats.GetDefaultOptions()
	opts.Servers = servers
	opts.Name = o.Name + " " + c.name
	opts.CustomDialer = c.dialer
	if o.Server != nil {
		opts.InProcessServer = c.dialer
	}
	opts.SkipHostLookup = true // the dialer looks up, within its timeout

	// Retry for ever, and buffer nothing meanwhile: it would be stale on arrival.
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

	opts.ConnectedCB = func(nc *nats.Conn) { outage.over(); c.setUp(nc) }
	opts.ReconnectedCB = func(nc *nats.Conn) { c.reconnects.Add(1); outage.over(); c.setUp(nc) }
	opts.DisconnectedErrCB = func(_ *nats.Conn, err error) {
		c.setDown()
		if !c.closing.Load() {
			outage.began(err)
		}
	}
	opts.ReconnectErrCB = func(_ *nats.Conn, err error) { c.failed.Store(&err); outage.began(err) }
	opts.ClosedCB = func(nc *nats.Conn) {
		c.setDown()
		if c.reopens && !c.closing.Load() {
			c.log.Info("the NATS client has stopped reconnecting: connecting anew", "err", nc.LastError())
			go c.reopen()
			return
		}
		close(c.closed)
	}
	opts.AsyncErrorCB = c.asyncError(outage)
	opts.LameDuckModeHandler = func(*nats.Conn) { c.log.Info("the NATS server is about to stop") }
	opts.DiscoveredServersCB = func(*nats.Conn) { c.log.Debug("more NATS servers are known") }
	return opts
}

// asyncError returns the handler of errors that belong to no call, such as a denied
// permission. There can be one for every message, so at most one a second is logged.
func (c *Connection) asyncError(outage *outage) nats.ErrHandler {
	limit := pacing.Outage{Every: time.Second}
	return func(_ *nats.Conn, sub *nats.Subscription, err error) {
		if p, ok := ParseViolation(err); ok && (p.OfRequests() || p.OfMemory()) {
			return
		}
		c.errors.Add(1)
		if refusal(err) != nil { // as in each attempt to connect
			outage.began(err)
			return
		}
		if c.deny(err) != nil && c.onDenied != nil {
			return
		}
		if !limit.Failed() {
			return
		}
		args := []any{"err", err}
		if sub != nil {
			args = append(args, "subject", sub.Subject)
		}
		c.log.Warn("NATS reports an error", args...)
	}
}

// deny returns err as a PermissionError if it says that a message or a subscription was
// denied, and otherwise nil. It keeps and reports the first one since all was allowed.
func (c *Connection) deny(err error) error {
	if before := c.allowed.Load(); before != nil && *before == err { //nolint:errorlint // that very error
		return nil
	}
	p, ok := ParseViolation(err)
	if !ok || p.OfRequests() || p.OfMemory() || c.lenient {
		return nil
	}
	denied := &PermissionError{Missing: []Permission{p}}
	if c.denied.CompareAndSwap(nil, denied) && c.onDenied != nil {
		c.onDenied(denied)
	}
	return denied
}

// grant forgets what was denied.
func (c *Connection) grant() {
	last := c.Client().LastError()
	c.allowed.Store(&last)
	c.denied.Store(nil)
}

func (c *Connection) setUp(nc *nats.Conn) {
	c.failed.Store(nil)
	c.maxPayload.Store(nc.MaxPayload())
	c.plain.Store(c.plainSocket(nc))
	c.mu.Lock()
	if !c.connected.Swap(true) {
		close(c.up)
	}
	c.limit.met(nc.MaxPayload())
	c.mu.Unlock()
	if c.onConnect != nil {
		c.onConnect(int(c.maxPayload.Load()))
	}
}

// plainSocket returns the socket of the new connection if messages may be written to it
// past the client. It returns nil if the options do not allow that, if the connection
// uses TLS or WebSocket, if the server is too old for headers, or if the connection is
// already being replaced.
func (c *Connection) plainSocket(nc *nats.Conn) *socket {
	s := c.dialer.current.Load()
	_, err := nc.TLSConnectionState()
	webSocket := strings.HasPrefix(nc.ConnectedUrl(), "ws")
	if !c.direct || err == nil || webSocket || !nc.HeadersSupported() || !nc.IsConnected() || c.dialer.current.Load() != s {
		return nil
	}
	return s
}

func (c *Connection) setDown() {
	c.plain.Store(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.connected.Swap(false) {
		c.up = make(chan struct{})
	}
}

// Up returns a channel that is closed once the connection is up. There is a new channel
// after each loss of the connection.
func (c *Connection) Up() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.up
}

// WaitConnected returns nil once the connection is up. It returns an error that wraps
// [ErrRefused] as soon as client or server refuses the other, and one that wraps
// [ErrNotConnected] when ctx ends.
func (c *Connection) WaitConnected(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-c.Up():
			return nil
		case <-c.closed:
			return fmt.Errorf("%w: closed", ErrNotConnected)
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrNotConnected, ctx.Err())
		case <-tick.C:
			if err := c.refused(); err != nil {
				return err
			}
		}
	}
}

// refused returns why an attempt to connect was refused, or nil if none was. The client
// calls back after the first attempt, and after those that fail before TLS. Of the
// others it only keeps the error.
func (c *Connection) refused() error {
	if failed := c.failed.Load(); failed != nil {
		if err := refusal(*failed); err != nil {
			return err
		}
	}
	return refusal(c.Client().LastError())
}

// Flush returns nil when the server has processed everything that was published before.
// If the server has denied something, the error is a [*PermissionError]. If ctx has no
// deadline, Flush waits for [Connection.WriteTimeout].
func (c *Connection) Flush(ctx context.Context) error {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	if !c.connected.Load() {
		return fmt.Errorf("connection %s: %w", c.name, ErrNotConnected)
	}
	if err := c.Client().FlushWithContext(ctx); err != nil {
		return fmt.Errorf("connection %s: %w", c.name, err)
	}
	// The client knows by now what was refused, even if it has not called back.
	return c.deny(c.Client().LastError())
}

// Answered waits until the server has answered everything that was sent before, and the
// subscriptions of the connection have handled the answers.
func (c *Connection) Answered(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := c.Flush(ctx); err != nil {
		return err
	}
	handled := make(chan struct{})
	if err := c.Client().Barrier(func() { close(handled) }); err != nil {
		return fmt.Errorf("connection %s: %w", c.name, err)
	}
	select {
	case <-handled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// abandon discards what is being written, so that Close does not wait for a peer that
// stalls.
func (c *Connection) abandon() {
	c.closing.Store(true)
	if s := c.dialer.current.Load(); s != nil {
		_ = s.abort(errClosed)
	}
}

// Close ends the connection and waits for its last callback. Messages that were not
// flushed may be lost.
func (c *Connection) Close() {
	c.opening.Lock()
	c.closing.Store(true)
	nc := c.Client()
	c.opening.Unlock()
	nc.Close()
	<-c.closed
	c.limit.looking.Wait()
}

// reopenAfter is the pause before a client is made again.
const reopenAfter = 250 * time.Millisecond

// reopen makes the connection again after the client has given it up. It does so for good
// at each error of the server that it does not know, such as a message that has become too
// large because somebody has lowered max_payload.
func (c *Connection) reopen() {
	for {
		<-time.After(reopenAfter)
		c.opening.Lock()
		if c.closing.Load() {
			c.opening.Unlock()
			close(c.closed)
			return
		}
		made, err := c.open()
		if err == nil {
			c.current.Store(made)
		}
		c.opening.Unlock()
		if err != nil {
			c.log.Debug("cannot reconnect to NATS, retrying", "err", err)
			continue
		}
		c.reconnects.Add(1)
		c.mu.Lock()
		hooks := c.reopened
		c.mu.Unlock()
		for _, f := range hooks {
			f(made.nc)
		}
		return
	}
}

// EachClient calls f with the client, and with each that takes its place: its subscriptions
// end with it.
func (c *Connection) EachClient(f func(*nats.Conn)) {
	c.mu.Lock()
	c.reopened = append(c.reopened, f)
	c.mu.Unlock()
	f(c.Client())
}

// Closed returns a channel that is closed when the connection is, by Close or by an error
// after which it is not made again.
func (c *Connection) Closed() <-chan struct{} { return c.closed }

// outage logs once that the connection was lost, and once that it is back.
type outage struct {
	log *slog.Logger
	pacing.Outage
}

func (o *outage) began(err error) {
	if err == nil {
		err = errors.New("connection lost")
	}
	log := o.log.Debug
	if o.Failed() {
		log = o.log.Warn
	}
	log("NATS is not reachable, retrying", "err", err)
}

func (o *outage) over() {
	if o.Recovered() {
		o.log.Info("NATS is connected")
	}
}
