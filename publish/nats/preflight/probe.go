package preflight

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// headerProbe is the header of the messages of [Probe], of no interest to others.
const headerProbe = "Cvf-Probe"

// ErrNotArrived says that a message was sent and not refused, but did not arrive.
var ErrNotArrived = errors.New("the message does not arrive")

// Probe finds out whether messages of a size, as counted by [publish.Size], reach a
// reader. It sends one over each connection for tensors, and waits for it at a
// subscription with the reader's own options. A broker on the way with a smaller limit
// drops such messages without telling the sender.
//
// Errors wrap [ErrNotArrived], [dial.ErrRefused] or [dial.ErrNotConnected], or are a
// [*publish.SizeError].
func Probe(ctx context.Context, conn *dial.Conn, reader dial.Options, subject string, size int) error {
	if err := conn.CheckSize(size); err != nil {
		return err
	}
	sub, err := consume.Subscribe(reader, subject)
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := sub.WaitConnected(ctx); err != nil {
		return fmt.Errorf("the reader: %w", err)
	}
	// If there are several servers, they have to learn of the reader first.
	if err := probe(ctx, conn, sub, subject, 0); err != nil {
		return err
	}
	return probe(ctx, conn, sub, subject, size)
}

// Other servers may need a moment to learn of the reader, so a small message is sent again
// until it arrives.
const (
	heardWithin = 5 * time.Second
	sendAgain   = 100 * time.Millisecond
)

// askTimeout bounds a request whose answer only adds detail to an error.
const askTimeout = 2 * time.Second

// probe sends a message over each connection, and waits for all of them.
func probe(ctx context.Context, conn *dial.Conn, sub *consume.Subscription, subject string, size int) error {
	for _, on := range conn.Data() {
		token := nats.NewInbox()
		m := nats.NewMsg(subject)
		m.Header.Set(headerProbe, token)
		if more := size - publish.HeaderSize(m.Header); more > 0 {
			m.Data = make([]byte, more)
		}
		if size > 0 {
			if err := send(ctx, on, m); err != nil {
				return err
			}
			if err := awaitProbe(ctx, sub, token); err != nil {
				return fmt.Errorf("connection %s: %w: %d bytes on %s", on.Name(), ErrNotArrived, size, subject)
			}
			continue
		}
		if err := probeUntilHeard(ctx, on, sub, m, token); err != nil {
			return err
		}
	}
	return nil
}

// probeUntilHeard sends a small message until one arrives.
func probeUntilHeard(ctx context.Context, on *dial.DataConnection, sub *consume.Subscription, m *nats.Msg, token string) error {
	ctx, cancel := context.WithTimeout(ctx, heardWithin)
	defer cancel()
	for {
		if err := send(ctx, on, m); err != nil {
			return err
		}
		again, end := context.WithTimeout(ctx, sendAgain)
		err := awaitProbe(again, sub, token)
		end()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("connection %s: %w, whatever its size: %s", on.Name(), ErrNotArrived, m.Subject)
		}
	}
}

func send(ctx context.Context, on *dial.DataConnection, m *nats.Msg) error {
	if err := on.Client().PublishMsg(m); err != nil {
		return fmt.Errorf("connection %s: %w", on.Name(), err)
	}
	return on.Flush(ctx)
}

// awaitProbe waits for a message, and discards others.
func awaitProbe(ctx context.Context, sub *consume.Subscription, token string) error {
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		if values := m.Header[headerProbe]; len(values) == 1 && values[0] == token {
			return nil
		}
	}
}

// A StoreState is the state of a stream or a bucket that a delivery mode needs.
type StoreState struct {
	Name string
	// Exists says that it exists and fits. Otherwise it would be created.
	Exists bool
	// Config describes it, or what would be created, in a few words.
	Config string
}

// CheckStream looks at the JetStream stream for tensors, without creating it. The error
// wraps [dial.ErrStream] if an existing stream does not fit, or if none could be created.
func CheckStream(ctx context.Context, conn *dial.Conn, o deliver.StreamOptions) (StoreState, error) {
	js, want := conn.Control().JetStream(), o.Config()
	state := StoreState{Name: want.Name, Config: summary(want)}
	stream, err := js.Stream(ctx, want.Name)
	switch {
	case err == nil:
		if err := deliver.Compare(stream.CachedInfo().Config, want); err != nil {
			return state, err
		}
		state.Exists = true
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return state, possible(ctx, js, want)
	default:
		return state, deliver.StreamError(ctx, js, want, err)
	}
	return state, nil
}

// CheckBucket looks at a key-value bucket, without creating it.
func CheckBucket(ctx context.Context, conn *dial.Conn, bucket string) (StoreState, error) {
	state := StoreState{Name: bucket, Config: "key-value bucket"}
	js := conn.Control().JetStream()
	_, err := js.KeyValue(ctx, bucket)
	state.Exists = err == nil
	if err == nil || errors.Is(err, jetstream.ErrBucketNotFound) {
		return state, nil
	}
	return state, deliver.StreamError(ctx, js, jetstream.StreamConfig{Name: bucketStream(bucket)}, err)
}

// possible returns an error if a stream could not be created, as far as the server says.
func possible(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if other, err := js.StreamNameBySubject(ctx, want.Subjects[0]); err == nil {
		return fmt.Errorf("%w %s could not be made: stream %s has %s already: name that one with delivery.stream.name, or choose another delivery.subject",
			dial.ErrStream, want.Name, other, want.Subjects[0])
	}
	account, err := js.AccountInfo(ctx)
	if err != nil {
		return nil // it may be possible even if asking is denied
	}
	limit, used := account.Limits.MaxStore, account.Store
	if want.Storage == jetstream.MemoryStorage {
		limit, used = account.Limits.MaxMemory, account.Memory
	}
	if limit >= 0 && want.MaxBytes > 0 && int64(used)+want.MaxBytes*int64(want.Replicas) > limit {
		return fmt.Errorf("%w %s could not be made: it needs %d bytes, and the account has %d left: lower delivery.stream.max_bytes, or raise the account's limit",
			dial.ErrStream, want.Name, want.MaxBytes*int64(want.Replicas), max(limit-int64(used), 0))
	}
	return nil
}

func summary(c jetstream.StreamConfig) string {
	text := fmt.Sprintf("%s, %s, replicas %d", c.Storage, c.Retention, c.Replicas)
	if c.MaxMsgsPerSubject > 0 {
		text += fmt.Sprintf(", the newest %d of each subject", c.MaxMsgsPerSubject)
	}
	if c.MaxBytes > 0 {
		text += fmt.Sprintf(", up to %d bytes", c.MaxBytes)
	}
	return text
}

// ProbeInbox returns a subject for [Probe] that nobody else uses and that no stream
// stores. Not all users may publish to it.
func ProbeInbox() string { return nats.NewInbox() }
