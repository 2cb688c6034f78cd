package dial

import (
	"cmp"
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
	data    []*DataConnection // a stream always uses the same
	control *Connection
	chunk   bool
	options Options // for the connections of Open
	closed  atomic.Bool
	waiting atomic.Pointer[string]
}

// Dial starts to connect and returns without waiting for a server that is not
// there: see [Conn.WaitConnected]. An error means that the options are wrong.
func Dial(o Options) (*Conn, error) {
	o = o.withDefaults()
	if onConnect := o.OnConnect; onConnect != nil {
		var one sync.Mutex
		o.OnConnect = func(maxPayload int) {
			one.Lock()
			defer one.Unlock()
			onConnect(maxPayload)
		}
	}
	all, errs := make([]*Connection, o.DataConnections+1), make([]error, o.DataConnections+1)
	// At once, because a server that does not answer at all costs a timeout.
	var wg sync.WaitGroup
	wg.Go(func() { all[0], errs[0] = newConnection(o.silent(), "control") })
	for i := 1; i < len(all); i++ {
		name := "data"
		if i > 1 {
			name += fmt.Sprint("-", i)
		}
		wg.Go(func() { all[i], errs[i] = newConnection(o, name) })
	}
	wg.Wait()
	if err := cmp.Or(errs...); err != nil {
		for _, made := range all {
			if made != nil {
				made.Close()
			}
		}
		return nil, err
	}
	c := &Conn{control: all[0], chunk: o.Chunk, options: o}
	for _, made := range all[1:] {
		c.data = append(c.data, newDataConnection(made))
	}
	return c, nil
}

// Open makes one more connection with the same options, for messages whose subjects
// others choose, such as answers: what the server denies on it is only logged.
func (c *Conn) Open(name string) (*DataConnection, error) {
	o := c.options.silent()
	o.lenient = true
	made, err := newConnection(o, name)
	if err != nil {
		return nil, err
	}
	return newDataConnection(made), nil
}

// Control returns the connection for everything but tensors.
func (c *Conn) Control() *Connection { return c.control }

// Data returns the connections for tensors.
func (c *Conn) Data() []*DataConnection { return c.data }

// connections returns all of them, those for tensors first.
func (c *Conn) connections() []*Connection {
	all := make([]*Connection, 0, len(c.data)+1)
	for _, d := range c.data {
		all = append(all, d.Connection)
	}
	return append(all, c.control)
}

// WaitConnected returns nil once all connections are made. It returns an error
// that wraps [ErrRefused] as soon as the server refuses the credentials, and one
// that wraps [ErrNotConnected] when ctx ends. The attempts go on in any case,
// until Close.
func (c *Conn) WaitConnected(ctx context.Context) error {
	for _, each := range c.connections() {
		if err := each.WaitConnected(ctx); err != nil {
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
	for _, each := range c.connections() {
		states = append(states, State{each.name, each.connected.Load(), each.reconnects.Load(), each.errors.Load()})
	}
	return states
}

// Denied returns the first permission that the server was seen to deny, as a
// [*PermissionError], or nil. After Close nothing is added to it.
func (c *Conn) Denied() error {
	for _, each := range c.connections() {
		if err := each.denied.Load(); err != nil {
			return err
		}
	}
	return nil
}

// MaxPayload returns the smallest max_payload in bytes of the servers that the
// connections for tensors were last made to, or 0 before the first time.
func (c *Conn) MaxPayload() int {
	least := int64(0)
	for _, each := range c.data {
		if n := each.maxPayload.Load(); n != 0 && (least == 0 || n < least) {
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

// Splits returns [Options.Chunk].
func (c *Conn) Splits() bool { return c.chunk }

// Split returns what m is sent as where a message may have limit bytes: m itself,
// unless the options say to split it. The error is a [*publish.DropError].
func (c *Conn) Split(m publish.Message, limit int) ([]publish.Message, error) {
	if !c.chunk || limit <= 0 {
		return []publish.Message{m}, nil
	}
	parts, err := publish.Split(m, limit)
	if err != nil {
		return nil, drop(publish.DropTooLarge, err)
	}
	return parts, nil
}

// Flush returns nil when the server has processed everything that was published
// before, and has denied nothing: otherwise the error is a [*PermissionError]. Where
// ctx has no deadline, it waits for [Options.WriteTimeout].
func (c *Conn) Flush(ctx context.Context) error {
	all := c.connections()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, each := range all {
		wg.Go(func() { errs[i] = each.Flush(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close flushes, closes all connections and waits for their ends. From its beginning
// on, messages are dropped. An error says that messages may not have arrived.
func (c *Conn) Close(ctx context.Context) error {
	if c.closed.Swap(true) {
		return nil
	}
	for _, each := range c.connections() {
		each.ending.Store(true)
	}
	for _, each := range c.data {
		each.heartbeat.stop()
	}
	err := c.Flush(ctx)
	if err != nil {
		// A peer that stalls must not hold up the end, nor be sent anything later.
		for _, each := range c.connections() {
			each.abandon()
		}
	}
	for _, each := range c.connections() {
		each.Close()
	}
	return err
}
