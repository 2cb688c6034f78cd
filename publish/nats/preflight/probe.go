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

// HeaderProbe is the header of messages that only [Probe] is interested in.
const HeaderProbe = "Cvf-Probe"

// ErrNotArrived says that a message was sent, and refused by nobody, but did not come
// out where it was waited for.
var ErrNotArrived = errors.New("the message does not arrive")

// Probe finds out whether messages of a size, as counted by [publish.Size], arrive at
// a reader: it sends one over each of the connections for tensors, and waits for it
// at a subscription that is made with the reader's own options. A broker on the way
// that takes less drops such messages without telling the sender.
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
	// That somebody reads has to get about, where the servers are several.
	if err := probe(ctx, conn, sub, subject, 0); err != nil {
		return err
	}
	return probe(ctx, conn, sub, subject, size)
}

// Other servers may need a moment to learn of the reader; a message that is small is
// sent again until it is through.
const (
	heardWithin = 5 * time.Second
	sendAgain   = 100 * time.Millisecond
)

// askTimeout bounds a question that only serves to say more about an error.
const askTimeout = 2 * time.Second

// probe sends a message over each connection, and waits for all of them.
func probe(ctx context.Context, conn *dial.Conn, sub *consume.Subscription, subject string, size int) error {
	for _, on := range conn.Data() {
		token := nats.NewInbox()
		m := nats.NewMsg(subject)
		m.Header.Set(HeaderProbe, token)
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

// probeUntilHeard sends a small message until one has come.
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

// awaitProbe waits for a message, and drops others.
func awaitProbe(ctx context.Context, sub *consume.Subscription, token string) error {
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		if values := m.Header[HeaderProbe]; len(values) == 1 && values[0] == token {
			return nil
		}
	}
}

// A StoreState is what there is of a stream, or a bucket, that a delivery mode needs.
type StoreState struct {
	Name string
	// Exists tells that it is there, and fits; otherwise it would be made.
	Exists bool
	// Config is what it is, or would be, in a few words.
	Config string
}

// CheckStream looks at the JetStream stream that tensors are to be published into,
// without making it. An error wraps [dial.ErrStream] where what is there does not fit, or none could be
// made.
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

// CheckBucket looks at a key-value bucket, without making it.
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

// possible tells whether a stream could be made, as far as the server says.
func possible(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if other, err := js.StreamNameBySubject(ctx, want.Subjects[0]); err == nil {
		return fmt.Errorf("%w %s could not be made: stream %s has %s already: name that one with delivery.stream.name, or choose another delivery.subject",
			dial.ErrStream, want.Name, other, want.Subjects[0])
	}
	account, err := js.AccountInfo(ctx)
	if err != nil {
		return nil // who may not ask may be allowed all the same
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

// ProbeInbox returns a subject for [Probe] that nobody else uses and no stream
// stores, for users who may publish to it.
func ProbeInbox() string { return nats.NewInbox() }
