// Package deliver publishes tensors over NATS, in the delivery modes of cvfeeder.
//
// [Live] publishes over core NATS: at most once, and the newest wins. [Stored] publishes
// into a JetStream stream: either a ring of the newest tensors in memory, or a durable
// stream on disk that holds every slot once, in order. Both are a [publish.Delivery].
// Neither constructor waits for a server; [Stored.Open] does.
//
//	conn, err := dial.Dial(dial.Options{URL: "nats://127.0.0.1:4222"})
//	if err != nil {
//		return err
//	}
//	defer conn.Close(ctx)
//	stored := deliver.NewStored(conn, deliver.StoredOptions{
//		Stream: deliver.StreamOptions{Kind: deliver.Durable, Subjects: []string{"cvf.t.*.*"}},
//		Gaps:   publish.InlineGaps,
//	})
//	if err := stored.Open(ctx); err != nil {
//		return err // errors.Is(err, dial.ErrStream): the error says what to do
//	}
//	err = stored.Publish(ctx, publish.NewMessage("cvf.t.front-door.detector", tensor))
//	var drop *publish.DropError
//	if errors.As(err, &drop) {
//		// not delivered, and it will not be: drop.Reason tells why
//	}
//
// [Cursors] keep how far streams were delivered in a key-value bucket.
//
// The package is larger than most packages because what a slot's message may have become
// in the stream is decided in one place: stored, stored by another, lost again, or unheard.
//
// Importers can rely on [NewLive], [NewStored], [NewCursors], their options and their
// methods. What describes the JetStream stream ([StreamOptions.Config], [Compare],
// [StreamError]) is for publish/nats/preflight and changes with it.
package deliver

import (
	"context"
	"errors"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/interest"
)

var (
	_ publish.Delivery = (*Live)(nil)

	errBehind = errors.New("the server is behind with earlier messages")
)

// Live publishes over core NATS: at most once, and the newest wins. A message that cannot
// be sent now is dropped, never kept for later.
type Live struct {
	conn        *dial.Conn
	subscribers *subscribers
	gaps        announcer
	asker       *interest.Asker
}

// NewLive returns a delivery that uses a connection and lasts as long. It does not wait
// for a server.
func NewLive(conn *dial.Conn, gaps publish.GapMode) *Live {
	l := &Live{conn: conn, subscribers: newSubscribers(conn.Data()), asker: interest.New(conn.Control())}
	l.gaps = announcer{mode: gaps, control: conn.Control(), publish: l.heardOrNot}
	return l
}

// Watched implements [publish.Delivery]. It returns false if the server has said that
// nobody listens to the subject. Even then it returns true once a second, so that the
// next message shows whether that has changed: a new subscriber waits for at most a
// second.
//
// It returns true while the connection is down: that a message cannot be delivered matters
// more than that nobody may listen.
func (l *Live) Watched(name string) bool {
	s := l.subscribers.of(name)
	if on := s.on.Load(); on != nil && !on.Connected() {
		return true
	}
	return s.wanted(time.Now())
}

// Interest implements [publish.Delivery].
func (l *Live) Interest(ctx context.Context, subject string) (bool, error) {
	some, err := l.asker.Listeners(ctx, subject, "")
	return some, unreached(err)
}

// Covered tells who listens to a subject, and whether another one would do: see
// [interest.Asker.Covered].
func (l *Live) Covered(ctx context.Context, subject, other, prefix string) (interest.Coverage, error) {
	return l.asker.Covered(ctx, subject, other, prefix, "")
}

// unreached makes the error that there is no connection one of a delivery.
func unreached(err error) error {
	if errors.Is(err, interest.ErrDown) {
		return drop(publish.DropDisconnected, err)
	}
	return err
}

// Confirm implements [publish.Delivery]. It flushes all connections. If the server has
// denied something, the error is a [*dial.PermissionError].
func (l *Live) Confirm(ctx context.Context) error { return l.conn.Flush(ctx) }

// Gap implements [publish.Delivery]. An event is sent over the control connection, so it
// may overtake earlier tensors.
func (l *Live) Gap(ctx context.Context, g publish.Gap, routes []publish.Route) error {
	return l.gaps.announce(ctx, g, routes)
}

// Publish implements [publish.Delivery]. It returns when m is written to the connection,
// after at most twice [dial.Options.WriteTimeout]. As long as nobody is known to listen to
// the subject, it waits until the server has said whether anybody does. An error that is
// neither a [*publish.DropError] nor ctx's says that the message can never be sent, for
// example because of its subject.
func (l *Live) Publish(ctx context.Context, m publish.Message) error {
	on, subject := l.conn.DataFor(m), l.subscribers.of(m.Subject)
	subject.on.Store(on)
	heard := subject.heard.Load()
	if err := l.write(ctx, on, subject, m); err != nil || heard {
		return err
	}
	// The answer that nobody listens comes before that to a ping.
	if err := on.Answered(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		reason, _ := reasonOf(err)
		return drop(reason, err)
	}
	if subject.nobody.Load() {
		return publish.ErrUnwatched
	}
	subject.heard.Store(true)
	return nil
}

// heardOrNot publishes a gap, which is told whether anybody listens or not.
func (l *Live) heardOrNot(ctx context.Context, m publish.Message) error {
	if err := l.Publish(ctx, m); !errors.Is(err, publish.ErrUnwatched) {
		return err
	}
	return nil
}

// write writes a message to a connection when its turn has come.
func (l *Live) write(ctx context.Context, on *dial.DataConnection, subject *subject, m publish.Message) error {
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
	subject.nobody.Store(false) // until the server says so
	for _, part := range parts {
		if err := on.Publish(part, subject.reply); err != nil {
			return err
		}
		on.Sent()
	}
	return nil
}

func drop(reason string, err error) error { return &publish.DropError{Reason: reason, Err: err} }
