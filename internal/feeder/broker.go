package feeder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
)

// A broker is the connection to NATS, and the server where that runs in this process.
type broker struct {
	conn *dial.Conn
	log  *slog.Logger
	// url is where consumers can connect, without secrets. local is the same for an
	// embedded server, "" for others.
	url, local string
	shutdown   func()
	// troubles are what has kept messages from being stored.
	troubles troubles
	// granted says that the server has allowed all that is needed, at some time. denied gets
	// a value when it does not any more.
	granted atomic.Bool
	denied  chan struct{}
}

// connect starts to connect to NATS; it does not wait for the server. stop ends the run
// where the server refuses what the plan needs.
func (f *Feeder) connect(plan Plan, switches Switches, limit *payloadLimit, stop func(error)) (*broker, error) {
	opts := plan.Dial()
	b := &broker{log: f.Log, url: dial.Redact(opts.URL), shutdown: func() {}, denied: make(chan struct{}, 1)}
	opts.Logger, opts.OnConnect, opts.OnDenied = f.Log, limit.connected, func(err error) { b.refused(err, stop) }
	opts.NoDirectWrites = !switches.DirectWrites
	if opts.URL == config.Embedded {
		server, err := embedded.Start(embedded.Options{Listen: f.Listen, StoreDir: plan.StoreDir, Logger: f.Log})
		if err != nil {
			return nil, err
		}
		opts.Server, b.shutdown = server, server.Shutdown
		b.local = server.ClientURL()
		b.url = b.local
	}
	conn, err := dial.Dial(opts)
	if err != nil {
		b.shutdown()
		return nil, Usage(err)
	}
	b.conn = conn
	return b, nil
}

// close sends what is left, and ends the connections and the embedded server. It
// returns the permission that the server denied, where it did.
func (b *broker) close(ctx context.Context) error {
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	defer b.shutdown()
	err := b.conn.Close(closing)
	if denied := b.conn.Denied(); denied != nil && !b.granted.Load() {
		return denied
	}
	if err != nil {
		b.log.Warn("the last messages may not have arrived", "err", err)
	}
	return nil
}

// refused is told what the server denies. That ends the run, unless the server had allowed
// it before.
func (b *broker) refused(err error, stop func(error)) {
	if !b.granted.Load() {
		stop(err)
		return
	}
	select {
	case b.denied <- struct{}{}:
	default:
	}
}

// askAgain is how often the permissions are asked for while one is missing.
const askAgain = 2 * time.Second

// follow looks at the permissions again whenever something is denied that the server had
// allowed, until that is allowed again or ctx ends.
func (b *broker) follow(ctx context.Context, needs preflight.Needs) {
	if !b.allowed(ctx, needs) {
		return // the server does not tell
	}
	b.granted.Store(true)
	b.conn.Granted()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.denied:
		}
		if b.conn.Denied() == nil {
			continue // it is over already
		}
		b.log.Error("NATS has revoked permissions: nothing that needs them is published until they are granted again", "err", b.conn.Denied())
		for !b.allowed(ctx, needs) {
			if pacing.Sleep(ctx, askAgain) != nil {
				return
			}
		}
		b.conn.Granted()
		b.log.Info("NATS has granted the permissions again")
	}
}

// allowed tells whether the server says that all is allowed.
func (b *broker) allowed(ctx context.Context, needs preflight.Needs) bool {
	user, err := preflight.AskUser(ctx, b.conn.Control())
	return err == nil && user.Check(needs) == nil
}

// check waits for the connection and checks the permissions of its user, and follows them
// until ctx ends. It returns an error only where something is refused at the start: the
// connection recovers from other trouble.
func (b *broker) check(ctx context.Context, needs preflight.Needs) error {
	err := b.conn.WaitConnected(ctx)
	if err == nil {
		err = preflight.CheckPermissions(ctx, b.conn, needs)
	}
	switch {
	case errors.Is(err, dial.ErrRefused):
		return err
	case err != nil && ctx.Err() == nil:
		b.log.Warn("the NATS permissions are not checked", "err", err)
	case err == nil:
		b.follow(ctx, needs)
	}
	return nil
}

// connections returns the state of each connection, for metrics and page.
func (b *broker) connections() []metrics.Connection {
	states := b.conn.States()
	all := make([]metrics.Connection, len(states))
	for i, s := range states {
		all[i] = metrics.Connection{Name: s.Name, Connected: s.Connected, Reconnects: s.Reconnects, Unconfirmed: s.Unconfirmed}
	}
	return all
}

// down returns the connections that are down, and whether all for tensors are.
func (b *broker) down() (names []string, deaf bool) {
	deaf = true
	for _, s := range b.conn.States() {
		if !s.Connected {
			names = append(names, s.Name)
		} else if s.Name != "control" {
			deaf = false
		}
	}
	return names, deaf
}

// A payloadLimit compares the largest message of the config with the max_payload of
// the servers.
type payloadLimit struct {
	oversize config.Oversize
	overhead int // bytes that the delivery mode and tracing add to a message
	log      *slog.Logger
	stop     func(error)

	mu       sync.Mutex
	largest  LargestMessage
	connects int
}

func newPayloadLimit(plan Plan, traces int, log *slog.Logger, stop func(error)) *payloadLimit {
	return &payloadLimit{
		oversize: plan.Config.Delivery.Oversize, overhead: plan.Overhead + traces,
		largest: plan.Largest, log: log, stop: stop,
	}
}

// connected is told the server's max_payload in bytes at each new connection. Where the
// largest message does not fit, it stops the run during the start; later, when a
// reconnect leads to a server with a smaller limit, it logs an error, and only the
// tensors that do not fit are dropped.
func (l *payloadLimit) connected(limit int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connects++
	err := l.check(l.largest, limit)
	switch {
	case err == nil:
	case l.connects <= dataConnections():
		l.stop(Usage(err))
	default:
		l.log.Error("tensors that are too large are dropped until the server's max_payload is raised", "err", err)
	}
}

func (l *payloadLimit) check(m LargestMessage, limit int) error {
	if limit <= 0 { // of a server that was not met yet
		return nil
	}
	if err := l.oversize.CheckSize(m.Bytes+l.overhead, limit); err != nil {
		return fmt.Errorf("%s: %w", m.Of, err)
	}
	return nil
}

// accept returns why the largest message of another plan does not fit, and takes it for
// the largest one where it does.
func (l *payloadLimit) accept(m LargestMessage, limit int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.check(m, limit); err != nil {
		return err
	}
	l.largest = m
	return nil
}
