package dial

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/publish"
)

// A Conn is a set of connections to NATS: some for tensors, named "data", and one for
// everything else, named "control". They reconnect whenever they break. A Conn is safe
// for concurrent use.
type Conn struct {
	data               []*DataConnection // a stream always uses the same one
	control            *Connection
	chunk              bool
	options            Options // for the connections of Open
	closed             atomic.Bool
	waiting            atomic.Pointer[string]
	granted            atomic.Bool
	remakes, rollbacks atomic.Uint64
	keysLost           pacing.Outage // limits what KeysLost tells
}

// Dial starts to connect, and returns without waiting for a server that is down: see
// [Conn.WaitConnected]. An error means that the options are wrong.
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
	// Concurrently, because a server that does not answer costs a timeout.
	var wg sync.WaitGroup
	wg.Go(func() { all[0], errs[0] = newConnection(o.silent(), "control") })
	for i := 1; i < len(all); i++ {
		name := "data"
		if i > 1 {
			name += fmt.Sprint("-", i)
		}
		data := o
		data.reopens = true
		wg.Go(func() { all[i], errs[i] = newConnection(data, name) })
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
	c := &Conn{control: all[0], chunk: o.Chunk, options: o, keysLost: pacing.Outage{Every: logAgain}}
	for _, made := range all[1:] {
		c.data = append(c.data, newDataConnection(made))
	}
	return c, nil
}

// Open starts one more connection with the same options, for messages whose subjects
// are chosen by others, such as answers: if the server denies one, that is only logged.
func (c *Conn) Open(name string) (*DataConnection, error) {
	o := c.options.silent()
	o.lenient = true
	made, err := newConnection(o, name)
	if err != nil {
		return nil, err
	}
	return newDataConnection(made), nil
}

// Control returns the connection for everything except tensors.
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

// WaitConnected returns nil once all connections are up. It returns an error that wraps
// [ErrRefused] as soon as the server refuses the credentials, and one that wraps
// [ErrNotConnected] when ctx ends. In either case the attempts go on until Close.
func (c *Conn) WaitConnected(ctx context.Context) error {
	for _, each := range c.connections() {
		if err := each.WaitConnected(ctx); err != nil {
			return err
		}
	}
	return nil
}

// A State is the state of one connection.
type State struct {
	// Name is "data", "data-2" and so on, or "control".
	Name      string
	Connected bool
	// Reconnects counts how often the connection has reconnected.
	Reconnects uint64
	// Errors counts the errors that the server has reported, such as denied
	// permissions.
	Errors uint64
	// Unconfirmed counts messages that were on the way when the connection broke, which may be
	// lost. In the modes with acks they are published again.
	Unconfirmed uint64
}

// States returns the state of each connection. It never waits for a write.
func (c *Conn) States() []State {
	var states []State
	for _, each := range c.connections() {
		states = append(states, State{each.name, each.connected.Load(), each.reconnects.Load(), each.errors.Load(), each.unconfirmed.Load()})
	}
	return states
}

// Denied returns the first permission that the server has denied since [Conn.Granted], as a
// [*PermissionError], or nil. It does not change after Close.
func (c *Conn) Denied() error {
	for _, each := range c.connections() {
		if err := each.denied.Load(); err != nil {
			return err
		}
	}
	return nil
}

// Granted says that the server allows all that is needed now, whatever it has denied
// before. If it denies something later, that may change again: [Options.OnDenied] is called
// again, and nothing is published on the connection until the next call of Granted.
func (c *Conn) Granted() {
	c.granted.Store(true)
	for _, each := range c.connections() {
		each.grant()
	}
}

// Remade logs and counts that a JetStream stream or a key-value bucket was gone while it was
// in use, and that it was made again. what names it, as in "stream cvfeeder".
func (c *Conn) Remade(what string) {
	c.control.log.Error("NATS has lost what it stored: it was created again, empty", "what", what)
	c.remakes.Add(1)
}

// KeysLost logs and counts that keys of a bucket were gone while they were in use, and are
// written again. Of many keys it is called once for each, and tells once in a while.
func (c *Conn) KeysLost(bucket string) {
	if !c.keysLost.Failed() {
		return
	}
	c.control.log.Error("NATS has lost keys that it stored, or somebody has deleted them: they are written again", "what", "key-value bucket "+bucket)
	c.remakes.Add(1)
}

// Remakes returns how often a stream, a bucket or its keys were gone and were made again.
func (c *Conn) Remakes() uint64 { return c.remakes.Load() }

// RolledBack logs and counts that a JetStream stream has lost the newest of the messages that
// it had acknowledged: of those up to reached it has those up to kept.
func (c *Conn) RolledBack(what string, reached, kept uint64) {
	c.control.log.Error("NATS has lost the newest messages that it had acknowledged: its store is that of an earlier time, as after a power failure; set sync_interval of the server's jetstream block to always to prevent it",
		"what", what, "acknowledged_to", reached, "kept_to", kept)
	c.rollbacks.Add(1)
}

// Rollbacks returns how often a stream had lost the newest of its messages.
func (c *Conn) Rollbacks() uint64 { return c.rollbacks.Load() }

// MaxPayload returns the smallest max_payload in bytes of the servers that the
// connections for tensors were last connected to, or 0 before the first connection.
func (c *Conn) MaxPayload() int {
	least := int64(0)
	for _, each := range c.data {
		if n := each.maxPayload.Load(); n != 0 && (least == 0 || n < least) {
			least = n
		}
	}
	return int(least)
}

// CheckSize returns nil if the server accepts a message of the given size, as counted by
// [publish.Size]. The error is a [*publish.SizeError], or [ErrNotConnected] before the
// first connection.
func (c *Conn) CheckSize(largest int) error {
	limit := c.MaxPayload()
	if limit == 0 {
		return ErrNotConnected
	}
	return publish.CheckSize(largest, limit)
}

// Splits returns [Options.Chunk].
func (c *Conn) Splits() bool { return c.chunk }

// Split returns the messages to send for m if a message can have limit bytes: m itself,
// or its parts if the options say to split it. The error is a [*publish.DropError].
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

// Flush returns nil when the server has processed everything that was published before.
// If the server has denied something, the error is a [*PermissionError]. If ctx has no
// deadline, Flush waits for [Options.WriteTimeout].
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

// Close flushes and closes all connections, and waits until they have ended. Messages
// are dropped from the moment it is called. An error says that earlier messages may not
// have arrived.
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
		// A peer that stalls must not delay the end, and must get nothing later.
		for _, each := range c.connections() {
			each.abandon()
		}
	}
	for _, each := range c.connections() {
		each.Close()
	}
	return err
}
