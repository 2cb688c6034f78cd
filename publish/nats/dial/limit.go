package dial

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
)

const (
	// lookEvery is how often max_payload is looked up while messages are too large for it.
	lookEvery = 10 * time.Second
	// oneOfMany is how long a limit is not believed again that was not there after a
	// reconnect: the servers of a cluster may have different ones.
	oneOfMany = 5 * time.Minute
)

// A limitDoubt finds out whether the server takes larger messages than it said when it was
// connected: where max_payload is raised by a reload, the server tells nobody.
type limitDoubt struct {
	ask     func() (maxPayload int64, err error)
	looking sync.WaitGroup
	seldom  pacing.Outage
	tried   int64 // guarded by Connection.mu, as is at
	at      time.Time
}

// newLimitDoubt returns one that asks by a client of its own.
func newLimitDoubt(opts nats.Options, o Options) limitDoubt {
	opts.Name += " limit"
	opts.RetryOnFailedConnect, opts.AllowReconnect = false, false
	opts.ConnectedCB, opts.ReconnectedCB, opts.ClosedCB, opts.DisconnectedErrCB, opts.ReconnectErrCB = nil, nil, nil, nil, nil
	opts.AsyncErrorCB, opts.LameDuckModeHandler, opts.DiscoveredServersCB = nil, nil, nil
	return limitDoubt{seldom: pacing.Outage{Every: lookEvery}, ask: func() (int64, error) {
		own := opts
		d := &dialer{server: o.Server, timeout: o.WriteTimeout}
		if own.CustomDialer = d; o.Server != nil {
			own.InProcessServer = d
		}
		nc, err := own.Connect()
		if err != nil {
			return 0, err
		}
		defer nc.Close()
		return nc.MaxPayload(), nil
	}}
}

// met takes note of the limit of a new connection.
func (d *limitDoubt) met(limit int64) {
	if limit >= d.tried {
		d.tried = 0
	}
}

// DoubtLimit says that a message was too large for the server. If the server takes larger
// ones by now, the connection is made again, which is how the client learns of it. It does
// not wait for that.
func (c *Connection) DoubtLimit() {
	if !c.limit.seldom.Failed() || !c.opening.TryLock() { // it is being made again right now
		return
	}
	defer c.opening.Unlock()
	if c.closing.Load() {
		return
	}
	c.limit.looking.Go(func() {
		limit, err := c.limit.ask()
		if err != nil || limit <= c.maxPayload.Load() || c.closing.Load() {
			return
		}
		c.mu.Lock()
		again := limit == c.limit.tried && time.Since(c.limit.at) < oneOfMany
		c.limit.tried, c.limit.at = limit, time.Now()
		c.mu.Unlock()
		if again {
			return
		}
		c.log.Info("the NATS server takes larger messages than before: connecting anew", "max_payload", limit)
		_ = c.Flush(context.Background()) // so that little is on the way; it has a deadline of its own
		_ = c.Client().ForceReconnect()   // fails only if the client has given the connection up
	})
}
