package natspub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/publish"
)

var (
	_ publish.Publisher = (*Live)(nil)

	errClosed = errors.New("the connection was closed")
	errBusy   = errors.New("earlier messages are still being written")
	errLate   = errors.New("the server is behind with earlier messages")
)

// Live publishes over core NATS: at most once, and the newest wins. A message
// that cannot go out now is dropped, never kept for later.
type Live struct {
	conn     *Conn
	interest *interest
	closed   atomic.Bool
}

// Interested tells whether to make a message for the subject: false where the server
// has told that nobody listens to it. Once a second it is true all the same, so that
// the next message shows whether that has changed; a new subscriber waits so long at
// the most.
func (l *Live) Interested(subject string) bool { return l.interest.of(subject).wanted(time.Now()) }

// close makes every later message be dropped. It reports whether this was the
// first call.
func (l *Live) close() bool { return !l.closed.Swap(true) }

// Publish hands m to the connection. It waits at most for two times
// [Options.WriteTimeout], and as a rule for as long as the write takes.
//
// When it returns, m.Data is no longer used: it has been written to the socket, or
// the client (nats.go v1.55, natsWriter.appendBufs) has copied it.
//
// The error is a [*publish.DropError] where the message was given up, and ctx's
// where that ended first; any other says that the message can never be sent, for
// example because of its subject.
func (l *Live) Publish(ctx context.Context, m publish.Message) error {
	on := l.conn.lane(m)
	if err := on.take(ctx); err != nil {
		return err
	}
	defer on.give()
	if err := l.ready(on.link); err != nil {
		return err
	}
	if on.pulse.late() {
		return drop(publish.DropSlow, errLate)
	}
	parts, err := l.conn.parts(m, l.conn.MaxPayload())
	if err != nil {
		return err
	}
	audience := l.interest.of(m.Subject)
	audience.nobody.Store(false) // until the server says so
	for _, part := range parts {
		if err := on.publish(part, audience.reply); err != nil {
			return err
		}
		on.pulse.sent()
	}
	return nil
}

// PublishGap hands the event of a gap to the connection for control messages.
// Its errors are those of Publish.
func (l *Live) PublishGap(ctx context.Context, g publish.Gap) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m, err := publish.NewGapMessage(g)
	if err != nil {
		return err
	}
	if err := l.ready(l.conn.control); err != nil {
		return err
	}
	return l.conn.control.publish(m, "")
}

// ready looks before the client is called, which while it connects holds its lock
// for as long as a server takes to answer.
func (l *Live) ready(on *link) error {
	switch {
	case l.closed.Load():
		return drop(publish.DropClosed, errClosed)
	case !on.connected.Load():
		return drop(publish.DropDisconnected, ErrNotConnected)
	}
	return nil
}

// publish writes m, and says what an error of the client means for it. Answers go to
// the subject reply, where it is not empty.
func (l *link) publish(m publish.Message, reply string) error {
	err := l.write(m, reply)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrMaxPayload):
		return drop(publish.DropTooLarge, &publish.SizeError{
			Size: publish.Size(m), Limit: int(l.nc.MaxPayload()),
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

func (l *link) write(m publish.Message, reply string) error {
	w := l.plain.Load()
	size := publish.Size(m)
	if w == nil || size < largeMessage || int64(size) > l.maxPayload.Load() || !isLiteral(m) {
		return l.nc.PublishMsg(&nats.Msg{Subject: m.Subject, Reply: reply, Header: nats.Header(m.Header), Data: m.Data})
	}
	return w.writeMessage(m, reply)
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
