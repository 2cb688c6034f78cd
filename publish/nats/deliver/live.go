// Package deliver publishes tensors over NATS, in the delivery modes of cvfeeder.
//
// [Live] publishes over core NATS: at most once, and the newest wins. [Stored] publishes
// into a JetStream stream: a ring in memory of the newest tensors, or a durable one on
// disk that holds every slot once and in order. [Cursors] keep in a key-value bucket how
// far streams were delivered.
package deliver

import (
	"context"
	"errors"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

var (
	_ publish.Publisher = (*Live)(nil)

	errBehind = errors.New("the server is behind with earlier messages")
)

// Live publishes over core NATS: at most once, and the newest wins. A message
// that cannot go out now is dropped, never kept for later.
type Live struct {
	conn        *dial.Conn
	subscribers *subscribers
}

// NewLive returns the delivery over a connection, as long as which it lives.
func NewLive(conn *dial.Conn) *Live {
	return &Live{conn: conn, subscribers: newSubscribers(conn.Data())}
}

// Interested tells whether to make a message for the subject: false where the server
// has told that nobody listens to it. Once a second it is true all the same, so that
// the next message shows whether that has changed; a new subscriber waits so long at
// the most.
func (l *Live) Interested(subject string) bool { return l.subscribers.of(subject).wanted(time.Now()) }

// Publish hands m to the connection. It waits at most for two times
// [dial.Options.WriteTimeout], and as a rule for as long as the write takes. When it
// returns, m.Data is no longer used.
//
// The error is a [*publish.DropError] where the message was given up, and ctx's
// where that ended first; any other says that the message can never be sent, for
// example because of its subject.
func (l *Live) Publish(ctx context.Context, m publish.Message) error {
	on := l.conn.DataFor(m)
	if err := on.Acquire(ctx); err != nil {
		return err
	}
	defer on.Release()
	if err := on.Ready(); err != nil {
		return err
	}
	if on.Behind() {
		return drop(publish.DropSlow, errBehind)
	}
	parts, err := l.conn.Split(m, l.conn.MaxPayload())
	if err != nil {
		return err
	}
	subject := l.subscribers.of(m.Subject)
	subject.nobody.Store(false) // until the server says so
	for _, part := range parts {
		if err := on.Publish(part, subject.reply); err != nil {
			return err
		}
		on.Sent()
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
	control := l.conn.Control()
	if err := control.Ready(); err != nil {
		return err
	}
	return control.Publish(m, "")
}

func drop(reason string, err error) error { return &publish.DropError{Reason: reason, Err: err} }
