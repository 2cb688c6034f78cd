package natspub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cvfeeder/cvfeeder/publish"
)

// A Conn is some connections to NATS, "data" for tensors and "control" for
// everything else, which are made again whenever they break. It is safe for
// concurrent use.
type Conn struct {
	data    []*lane // a stream always uses the same
	control *link
	live    *Live
	chunk   bool
	options Options // for the connection of Serve
	waiting atomic.Pointer[string]
}

// Dial starts to connect and returns without waiting for a server that is not
// there: see [Conn.WaitConnected]. An error means that the options are wrong.
func Dial(o Options) (*Conn, error) {
	o = o.withDefaults()
	onConnect := o.OnConnect
	if onConnect != nil {
		var one sync.Mutex
		onConnect = func(maxPayload int) {
			one.Lock()
			defer one.Unlock()
			o.OnConnect(maxPayload)
		}
	}
	links, errs := make([]*link, o.DataConnections+1), make([]error, o.DataConnections+1)
	// At once, because a server that does not answer at all costs a timeout.
	var wg sync.WaitGroup
	wg.Go(func() { links[0], errs[0] = newLink(o, "control", nil) })
	for i := 1; i < len(links); i++ {
		name := "data"
		if i > 1 {
			name += fmt.Sprint("-", i)
		}
		wg.Go(func() { links[i], errs[i] = newLink(o, name, onConnect) })
	}
	wg.Wait()
	for _, err := range errs {
		if err == nil {
			continue
		}
		for _, l := range links {
			if l != nil {
				l.close()
			}
		}
		return nil, err
	}
	c := &Conn{control: links[0], chunk: o.Chunk, options: o}
	for _, l := range links[1:] {
		c.data = append(c.data, newLane(l))
	}
	c.live = &Live{conn: c}
	var err error
	if c.live.interest, err = newInterest(links[1:]); err != nil {
		return nil, errors.Join(err, c.Close(context.Background()))
	}
	return c, nil
}

// links returns all connections, those for tensors first.
func (c *Conn) links() []*link {
	all := make([]*link, 0, len(c.data)+1)
	for _, l := range c.data {
		all = append(all, l.link)
	}
	return append(all, c.control)
}

// WaitConnected returns nil once all connections are made. It returns an error
// that wraps [ErrRefused] as soon as the server refuses the credentials, and one
// that wraps [ErrNotConnected] when ctx ends. The attempts go on in any case,
// until Close.
func (c *Conn) WaitConnected(ctx context.Context) error {
	for _, l := range c.links() {
		if err := l.waitConnected(ctx); err != nil {
			return err
		}
	}
	return nil
}

// A State is that of one connection.
type State struct {
	// Name is "data", for further ones "data-2" and so on, or "control".
	Name      string
	Connected bool
	// Reconnects counts how often the connection has been made again.
	Reconnects uint64
	// Errors counts what the server complained of, such as a denied permission.
	Errors uint64
}

// States returns the state of each connection. It never waits for a write.
func (c *Conn) States() []State {
	var states []State
	for _, l := range c.links() {
		states = append(states, State{l.name, l.connected.Load(), l.reconnects.Load(), l.errors.Load()})
	}
	return states
}

// Denied returns the first permission that the server was seen to deny, as a
// [*PermissionError], or nil. After Close nothing is added to it.
func (c *Conn) Denied() error {
	for _, l := range c.links() {
		if err := l.denied.Load(); err != nil {
			return err
		}
	}
	return nil
}

// MaxPayload returns the smallest max_payload in bytes of the servers that the
// connections for tensors were last made to, or 0 before the first time.
func (c *Conn) MaxPayload() int {
	least := int64(0)
	for _, l := range c.data {
		if n := l.maxPayload.Load(); n != 0 && (least == 0 || n < least) {
			least = n
		}
	}
	return int(least)
}

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

// parts returns what m is sent as where messages may have so many bytes, which is m
// itself unless it is to be split. The error is a [*publish.DropError].
func (c *Conn) parts(m publish.Message, limit int) ([]publish.Message, error) {
	if !c.chunk || limit <= 0 {
		return []publish.Message{m}, nil
	}
	parts, err := publish.Split(m, limit)
	if err != nil {
		return nil, drop(publish.DropTooLarge, err)
	}
	return parts, nil
}

// Live returns the publisher of the delivery mode "live". It lives as long as the
// Conn.
func (c *Conn) Live() *Live { return c.live }

// Flush returns nil when the server has processed everything that was handed
// over before, and has denied nothing: otherwise the error is a [*PermissionError].
// Where ctx has no deadline, it waits for [Options.WriteTimeout].
func (c *Conn) Flush(ctx context.Context) error {
	links := c.links()
	errs := make([]error, len(links))
	var wg sync.WaitGroup
	for i, l := range links {
		wg.Go(func() { errs[i] = l.flush(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close flushes, closes all connections and waits for their ends. From then on
// messages are dropped. An error says that messages may not have arrived.
func (c *Conn) Close(ctx context.Context) error {
	if !c.live.close() {
		return nil
	}
	for _, l := range c.data {
		l.pulse.stop()
	}
	err := c.Flush(ctx)
	if err != nil {
		// A peer that stalls must not hold up the end, nor be sent anything later.
		for _, l := range c.links() {
			l.abandon()
		}
	}
	for _, l := range c.links() {
		l.close()
	}
	return err
}
