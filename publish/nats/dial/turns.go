package dial

import (
	"context"
	"hash/fnv"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
)

// A DataConnection is a connection for tensors, on which messages take turns.
type DataConnection struct {
	*Connection
	// turn holds a value while a message is written. Waiting for it can time out,
	// unlike waiting for the client's own lock.
	turn      chan struct{}
	heartbeat *heartbeat
}

func newDataConnection(c *Connection) *DataConnection {
	return &DataConnection{Connection: c, turn: make(chan struct{}, 1), heartbeat: startHeartbeat(c, c.timeout)}
}

// Acquire waits for the caller's turn, for at most [Options.WriteTimeout]. The caller
// ends the turn with Release. The error is a [*publish.DropError], or ctx's.
func (d *DataConnection) Acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case d.turn <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(d.timeout)
	defer timer.Stop()
	select {
	case d.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return drop(publish.DropSlow, errBusy)
	}
}

// Release ends the turn that began with Acquire.
func (d *DataConnection) Release() { <-d.turn }

// Sent notes that a message was written. If the server does not confirm it in time, the
// connection is given up.
func (d *DataConnection) Sent() { d.heartbeat.sent() }

// Behind tells whether the server is slow to confirm earlier messages.
func (d *DataConnection) Behind() bool { return d.heartbeat.late() }

// Close flushes and ends a connection that was made by [Conn.Open].
func (d *DataConnection) Close() {
	d.heartbeat.stop()
	if d.Flush(context.Background()) != nil {
		d.abandon()
	}
	d.Connection.Close()
}

// DataFor returns the connection for a message. It is always the same for a stream, so
// that its messages keep their order.
func (c *Conn) DataFor(m publish.Message) *DataConnection {
	key := m.Subject
	if stream := m.Header[publish.HeaderStream]; len(stream) > 0 {
		key = stream[0]
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return c.data[h.Sum32()%uint32(len(c.data))]
}
