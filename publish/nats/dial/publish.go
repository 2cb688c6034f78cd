package dial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/publish"
)

// Ready returns nil where a message can be published now, and otherwise a
// [*publish.DropError]. Who does not look before blocks in the client, which while it
// connects holds its lock for as long as a server takes to answer.
func (c *Connection) Ready() error {
	switch {
	case c.ending.Load():
		return drop(publish.DropClosed, errClosed)
	case !c.connected.Load():
		return drop(publish.DropDisconnected, ErrNotConnected)
	}
	return nil
}

// Publish writes m, and says what an error of the client means for it. Answers go to
// the subject reply, unless it is empty. Messages that one goroutine publishes leave in
// that order, whatever their sizes. When it returns, m.Data is no longer used.
//
// The error is a [*publish.DropError] where the message was given up; any other says
// that the message can never be sent, for example because of its subject.
func (c *Connection) Publish(m publish.Message, reply string) error {
	err := c.write(m, reply)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrMaxPayload):
		return drop(publish.DropTooLarge, &publish.SizeError{
			Size: publish.Size(m), Limit: int(c.nc.MaxPayload()),
		})
	case errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrBadHeaderMsg), errors.Is(err, nats.ErrHeadersNotSupported):
		return fmt.Errorf("message on subject %q: %w", m.Subject, err)
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return drop(publish.DropClosed, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return drop(publish.DropSlow, err)
	default: // also ErrReconnectBufExceeded, as nothing is buffered without a connection
		return drop(publish.DropDisconnected, err)
	}
}

// largeMessage in bytes is worth to be written past the client.
const largeMessage = 64 << 10

// write writes a large message to the socket from where it is. The client (nats.go
// v1.55, natsWriter.appendBufs) copies each message into its buffer first, which is
// best for small ones, that leave together. Of large ones it costs a tenth of all that is
// done for a tensor, and memory.
func (c *Connection) write(m publish.Message, reply string) error {
	s := c.plain.Load()
	if s == nil || publish.Size(m) < largeMessage || !isValid(m, reply, c.MaxPayload()) || !c.flushClient() {
		return c.nc.PublishMsg(&nats.Msg{Subject: m.Subject, Reply: reply, Header: nats.Header(m.Header), Data: m.Data})
	}
	return s.writeMessage(m, reply)
}

// flushClient makes the client write what it has buffered, and tells whether nothing is
// left. What is written to the socket before that overtakes it.
func (c *Connection) flushClient() bool {
	if n, err := c.nc.Buffered(); err != nil || n == 0 {
		return err == nil
	}
	ended, cancel := context.WithDeadline(context.Background(), time.Time{})
	defer cancel()
	_ = c.nc.FlushWithContext(ended) // it writes all and a ping, whose answer is not waited for
	n, err := c.nc.Buffered()
	return err == nil && n == 0
}

func drop(reason string, err error) error { return &publish.DropError{Reason: reason, Err: err} }
