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

// Ready returns nil if a message can be published now, and otherwise a
// [*publish.DropError]. Check it before Publish, which can block while the client
// connects.
func (c *Connection) Ready() error {
	switch {
	case c.ending.Load():
		return drop(publish.DropClosed, errClosed)
	case !c.connected.Load():
		return drop(publish.DropDisconnected, ErrNotConnected)
	}
	if c.allowed.Load() != nil {
		if denied := c.denied.Load(); denied != nil {
			return drop(publish.DropRefused, denied)
		}
	}
	return nil
}

// Publish writes m. Answers go to the subject reply, if it is not empty. Messages that
// are published one after the other leave in that order, whatever their sizes. m.Data
// is not used after Publish returns.
//
// The error is a [*publish.DropError] if the message was dropped. Any other error says
// that the message can never be sent, for example because of its subject.
func (c *Connection) Publish(m publish.Message, reply string) error {
	err := c.write(m, reply)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrMaxPayload):
		c.DoubtLimit()
		return drop(publish.DropTooLarge, &publish.SizeError{
			Size: publish.Size(m), Limit: int(c.Client().MaxPayload()),
		})
	case errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrBadHeaderMsg), errors.Is(err, nats.ErrHeadersNotSupported):
		return fmt.Errorf("message on subject %q: %w", m.Subject, err)
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return drop(publish.DropClosed, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return drop(publish.DropSlow, err)
	default: // also ErrReconnectBufExceeded: nothing is buffered without a connection
		return drop(publish.DropDisconnected, err)
	}
}

// largeMessage is the size in bytes from which it is worth to write past the client.
const largeMessage = 64 << 10

// write publishes small messages through the client (nats.go v1.55), which copies them
// into a buffer, so that many leave together. For large ones the copy costs a tenth of
// the time that publishing takes, and memory, so they are written to the socket without
// it.
func (c *Connection) write(m publish.Message, reply string) error {
	s := c.plain.Load()
	if s == nil || publish.Size(m) < largeMessage || !isValid(m, reply, c.MaxPayload()) || !c.flushClient() {
		err := c.Client().PublishMsg(&nats.Msg{Subject: m.Subject, Reply: reply, Header: nats.Header(m.Header), Data: m.Data})
		c.buffered.Store(true) // not before, or a flush between the two would clear it
		return err
	}
	return s.writeMessage(m, reply)
}

// flushClient makes the client write the messages that it has buffered, and tells whether
// none is left. A message written to the socket earlier would overtake what is left.
func (c *Connection) flushClient() bool {
	// Most large messages follow others, and need not wait for the client's lock.
	if !c.buffered.Swap(false) {
		return true
	}
	n, err := c.Client().Buffered()
	if err == nil && n > 0 {
		ended, cancel := context.WithDeadline(context.Background(), time.Time{})
		defer cancel()
		_ = c.Client().FlushWithContext(ended) // writes everything and a ping, and does not wait for the answer
		n, err = c.Client().Buffered()
	}
	flushed := err == nil && n == 0
	if !flushed {
		c.buffered.Store(true)
	}
	return flushed
}

func drop(reason string, err error) error { return &publish.DropError{Reason: reason, Err: err} }
