package natspub

import (
	"context"
	"errors"
	"sync"

	"github.com/cvfeeder/cvfeeder/publish"
)

// A Conn is a pair of connections to NATS, "data" for tensors and "control" for
// everything else, which are made again whenever they break. It is safe for
// concurrent use.
type Conn struct {
	data, control *link
	live          *Live
	chunk         bool
}

// Dial starts to connect and returns without waiting for a server that is not
// there: see [Conn.WaitConnected]. An error means that the options are wrong.
func Dial(o Options) (*Conn, error) {
	o = o.withDefaults()
	c := &Conn{chunk: o.Chunk}
	var errData, errControl error
	// At once, because a server that does not answer at all costs a timeout.
	var wg sync.WaitGroup
	wg.Go(func() { c.data, errData = newLink(o, "data", o.OnConnect) })
	wg.Go(func() { c.control, errControl = newLink(o, "control", nil) })
	wg.Wait()
	if err := errors.Join(errData, errControl); err != nil {
		for _, l := range []*link{c.data, c.control} {
			if l != nil {
				l.close()
			}
		}
		if errData != nil {
			return nil, errData
		}
		return nil, errControl
	}
	c.live = newLive(c, o.WriteTimeout)
	return c, nil
}

// WaitConnected returns nil once both connections are made. It returns an error
// that wraps [ErrRefused] as soon as the server refuses the credentials, and one
// that wraps [ErrNotConnected] when ctx ends. The attempts go on in any case,
// until Close.
func (c *Conn) WaitConnected(ctx context.Context) error {
	if err := c.data.waitConnected(ctx); err != nil {
		return err
	}
	return c.control.waitConnected(ctx)
}

// A State is that of one connection.
type State struct {
	// Name is "data" or "control".
	Name      string
	Connected bool
	// Reconnects counts how often the connection has been made again.
	Reconnects uint64
	// Errors counts what the server complained of, such as a denied permission.
	Errors uint64
}

// States returns the state of each connection. It never waits for a write.
func (c *Conn) States() []State {
	states := make([]State, 0, 2)
	for _, l := range []*link{c.data, c.control} {
		states = append(states, State{l.name, l.connected.Load(), l.reconnects.Load(), l.errors.Load()})
	}
	return states
}

// Denied returns the first permission that the server was seen to deny, as a
// [*PermissionError], or nil. After Close nothing is added to it.
func (c *Conn) Denied() error {
	for _, l := range []*link{c.data, c.control} {
		if err := l.denied.Load(); err != nil {
			return err
		}
	}
	return nil
}

// MaxPayload returns the max_payload in bytes of the server that the connection
// for tensors was last made to, or 0 before the first time.
func (c *Conn) MaxPayload() int { return int(c.data.maxPayload.Load()) }

// CheckSize tells whether the server takes a message of the given size, as
// counted by [publish.Size]. The error is a [*publish.SizeError], or
// [ErrNotConnected] where no server has been met yet.
func (c *Conn) CheckSize(largest int) error {
	limit := c.MaxPayload()
	if limit == 0 {
		return ErrNotConnected
	}
	return publish.CheckSize(largest, limit)
}

// parts returns what m is sent as, which is m itself unless it is too large with
// some bytes more.
func (c *Conn) parts(m publish.Message, more int) ([]publish.Message, error) {
	limit := c.MaxPayload()
	if !c.chunk || limit == 0 {
		return []publish.Message{m}, nil
	}
	return publish.Split(m, limit-more)
}

// Live returns the publisher of the delivery mode "live". It lives as long as the
// Conn.
func (c *Conn) Live() *Live { return c.live }

// Flush returns nil when the server has processed everything that was handed
// over before, and has denied nothing: otherwise the error is a [*PermissionError]. Where ctx has no deadline, it waits for [Options.WriteTimeout].
func (c *Conn) Flush(ctx context.Context) error {
	return errors.Join(c.data.flush(ctx), c.control.flush(ctx))
}

// Close flushes, closes both connections and waits for their ends. From then on
// messages are dropped. An error says that messages may not have arrived.
func (c *Conn) Close(ctx context.Context) error {
	if !c.live.close() {
		return nil
	}
	err := c.Flush(ctx)
	if err != nil {
		// A peer that stalls must not hold up the end, nor be sent anything later.
		for _, l := range []*link{c.data, c.control} {
			l.closing.Store(true)
			if w := l.dialer.current.Load(); w != nil {
				_ = w.abort(errClosed)
			}
		}
	}
	c.data.close()
	c.control.close()
	return err
}
