package natspub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
)

// HeaderProbe is the header of messages that only [Conn.Probe] is interested in.
const HeaderProbe = "Cvf-Probe"

// ErrNotArrived says that a message was sent, and refused by nobody, but did not come
// out where it was waited for.
var ErrNotArrived = errors.New("the message does not arrive")

// Probe finds out whether messages of a size, as counted by [publish.Size], arrive at
// a reader: it sends one over each of the connections for tensors, and waits for it
// at a subscription that is made with the reader's own options. A broker on the way
// that takes less drops such messages without telling the sender.
//
// Errors wrap [ErrNotArrived], [ErrRefused] or [ErrNotConnected], or are a
// [*publish.SizeError].
func (c *Conn) Probe(ctx context.Context, reader Options, subject string, size int) error {
	if err := c.CheckSize(size); err != nil {
		return err
	}
	sub, err := Subscribe(reader, subject)
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := sub.WaitConnected(ctx); err != nil {
		return fmt.Errorf("the reader: %w", err)
	}
	// That somebody reads has to get about, where the servers are several.
	if err := c.probe(ctx, sub, subject, 0); err != nil {
		return err
	}
	return c.probe(ctx, sub, subject, size)
}

// The reader's interest may need a moment to get to other servers; a message that is
// small is sent again until it is through.
const (
	interestTime  = 5 * time.Second
	interestAgain = 100 * time.Millisecond
)

// probe sends a message over each connection, and waits for all of them.
func (c *Conn) probe(ctx context.Context, sub *Subscription, subject string, size int) error {
	for _, l := range c.data {
		token := nats.NewInbox()
		m := nats.NewMsg(subject)
		m.Header.Set(HeaderProbe, token)
		if more := size - publish.HeaderSize(m.Header); more > 0 {
			m.Data = make([]byte, more)
		}
		if size > 0 {
			if err := l.sendProbe(ctx, m); err != nil {
				return err
			}
			if err := awaitProbe(ctx, sub, token); err != nil {
				return fmt.Errorf("connection %s: %w: %d bytes on %s", l.name, ErrNotArrived, size, subject)
			}
			continue
		}
		if err := l.probeInterest(ctx, sub, m, token); err != nil {
			return err
		}
	}
	return nil
}

// probeInterest sends a small message until one has come.
func (l *lane) probeInterest(ctx context.Context, sub *Subscription, m *nats.Msg, token string) error {
	ctx, cancel := context.WithTimeout(ctx, interestTime)
	defer cancel()
	for {
		if err := l.sendProbe(ctx, m); err != nil {
			return err
		}
		again, end := context.WithTimeout(ctx, interestAgain)
		err := awaitProbe(again, sub, token)
		end()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("connection %s: %w, whatever its size: %s", l.name, ErrNotArrived, m.Subject)
		}
	}
}

func (l *lane) sendProbe(ctx context.Context, m *nats.Msg) error {
	if err := l.nc.PublishMsg(m); err != nil {
		return fmt.Errorf("connection %s: %w", l.name, err)
	}
	return l.flush(ctx)
}

// awaitProbe waits for a message, and drops others.
func awaitProbe(ctx context.Context, sub *Subscription, token string) error {
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

// CheckStream looks at the JetStream stream of the mode durable or ring, without making
// it. An error wraps [ErrStream] where what is there does not fit, or none could be
// made.
func (c *Conn) CheckStream(ctx context.Context, o StreamOptions, durable bool) (StoreState, error) {
	js, err := jetstream.New(c.control.nc, jetstream.WithDefaultTimeout(c.control.timeout))
	if err != nil {
		return StoreState{}, err
	}
	want := o.withDefaults().ring()
	if durable {
		want = o.withDefaults().durable()
	}
	state := StoreState{Name: want.Name, Config: summary(want)}
	stream, err := js.Stream(ctx, want.Name)
	switch {
	case err == nil:
		if diff := compare(stream.CachedInfo().Config, want); diff != nil {
			return state, fmt.Errorf("%w %s is not what the config needs: %s", ErrStream, want.Name, diff.text())
		}
		state.Exists = true
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return state, possible(ctx, js, want)
	default:
		return state, streamError(ctx, js, want, err)
	}
	return state, nil
}

// CheckBucket looks at a key-value bucket, without making it.
func (c *Conn) CheckBucket(ctx context.Context, bucket string) (StoreState, error) {
	state := StoreState{Name: bucket, Config: "key-value bucket"}
	js, err := jetstream.New(c.control.nc, jetstream.WithDefaultTimeout(c.control.timeout))
	if err != nil {
		return state, err
	}
	_, err = js.KeyValue(ctx, bucket)
	state.Exists = err == nil
	if err == nil || errors.Is(err, jetstream.ErrBucketNotFound) {
		return state, nil
	}
	return state, streamError(ctx, js, jetstream.StreamConfig{Name: bucketStream(bucket)}, err)
}

// possible tells whether a stream could be made, as far as the server says.
func possible(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if other, err := js.StreamNameBySubject(ctx, want.Subjects[0]); err == nil {
		return fmt.Errorf("%w %s could not be made: stream %s has %s already: name that one with delivery.stream.name, or choose another delivery.subject",
			ErrStream, want.Name, other, want.Subjects[0])
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
			ErrStream, want.Name, want.MaxBytes*int64(want.Replicas), max(limit-int64(used), 0))
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

// ProbeInbox returns a subject for [Conn.Probe] that nobody else uses and no stream
// stores, for users who may publish to it.
func ProbeInbox() string { return nats.NewInbox() }
