package dial

import (
	"errors"
	"fmt"
	"os"
	"strings"

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
// the subject reply, unless it is empty.
//
// When it returns, m.Data is no longer used: it has been written to the socket, or
// the client (nats.go v1.55, natsWriter.appendBufs) has copied it.
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

func (c *Connection) write(m publish.Message, reply string) error {
	s := c.plain.Load()
	size := publish.Size(m)
	if s == nil || size < largeMessage || int64(size) > c.maxPayload.Load() || !isLiteral(m) {
		return c.nc.PublishMsg(&nats.Msg{Subject: m.Subject, Reply: reply, Header: nats.Header(m.Header), Data: m.Data})
	}
	return s.writeMessage(m, reply)
}

// isLiteral tells whether subject and headers can go over the wire as they are. Of
// others the client says what is wrong, or mends it.
func isLiteral(m publish.Message) bool {
	for name, values := range m.Header {
		if name == "" || strings.ContainsAny(name, ": \t\r\n") || strings.ContainsAny(strings.Join(values, ""), "\r\n") {
			return false
		}
	}
	return m.Subject != "" && !strings.ContainsFunc(m.Subject, func(r rune) bool { return r <= ' ' })
}

func drop(reason string, err error) error { return &publish.DropError{Reason: reason, Err: err} }
