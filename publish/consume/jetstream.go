package consume

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/memory"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

const (
	defaultAckWait = 30 * time.Second
	maxAckPending  = 1024
	// A pull asks for at most so many messages, and so many bytes if all of them are as
	// large as the server allows. The client's default of 500 messages would not fit
	// into any buffer.
	pullMessages = 4
	pullBytes    = 32 << 20
	pullWait     = 5 * time.Second
	retryWait    = 250 * time.Millisecond
)

// ConsumerOptions are the options of [Consume].
type ConsumerOptions struct {
	// Stream is the JetStream stream. Default: [dial.DefaultStream].
	Stream string
	// Name is the name of the durable consumer in JetStream. It is required.
	Name string
	// Subjects to consume, which can have wildcards. They are used only if the consumer
	// is created. Default: all subjects of the stream.
	Subjects []string
	// AckWait is the time without an ack after which a delivery is repeated. It is used
	// only if the consumer is created. Default: 30s.
	AckWait time.Duration
	// Memory is the directory in which feeders of this host share memory: see [Options]. If it
	// is set, a consumer that is created gets the tensors of Subjects in memory
	// where everybody else reads them there, too. All of its readers must then be on
	// this host: others get gaps.
	Memory string
}

// A Consumer reads a JetStream stream. JetStream remembers how far it has read, so that
// nothing is lost while it is not running.
type Consumer struct {
	conn          *dial.Connection
	consumer      jetstream.Consumer
	maxAckPending int
	incomplete    atomic.Int64
	memory        fetcher
}

// Consume connects, waits for the server, and finds or creates the durable consumer. An
// existing one is not changed; if it cannot be used, the error says why. If tensors come
// in parts, a durable consumer must have only one reader, because two readers would each
// get some of the parts.
func Consume(ctx context.Context, o dial.Options, c ConsumerOptions) (*Consumer, error) {
	if c.Name == "" {
		return nil, errors.New("consumer: no name")
	}
	if c.Stream == "" {
		c.Stream = dial.DefaultStream
	}
	if c.AckWait <= 0 {
		c.AckWait = defaultAckWait
	}
	conn, err := dial.Connect(o, "consumer")
	if err != nil {
		return nil, err
	}
	consumer := &Consumer{conn: conn, memory: fetcher{reader: memory.NewReader(memoryDir(c.Memory)), conn: conn}}
	if err := consumer.find(ctx, c); err != nil {
		conn.Close()
		consumer.memory.end()
		return nil, fmt.Errorf("consumer %q of the stream %q: %w", c.Name, c.Stream, err)
	}
	return consumer, nil
}

func (c *Consumer) find(ctx context.Context, o ConsumerOptions) error {
	if err := c.conn.WaitConnected(ctx); err != nil {
		return err
	}
	js, err := jetstream.New(c.conn.Client())
	if err != nil {
		return err
	}
	o.Subjects = c.withPlaces(o)
	c.consumer, err = js.Consumer(ctx, o.Stream, o.Name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		c.consumer, err = js.CreateConsumer(ctx, o.Stream, jetstream.ConsumerConfig{
			Durable:        o.Name,
			FilterSubjects: o.Subjects,
			AckPolicy:      jetstream.AckExplicitPolicy,
			AckWait:        o.AckWait,
			MaxAckPending:  maxAckPending,
		})
	}
	if err != nil {
		return err
	}
	config := c.consumer.CachedInfo().Config
	if config.AckPolicy != jetstream.AckExplicitPolicy {
		return fmt.Errorf("its ack policy is %q: it must be explicit", config.AckPolicy)
	}
	c.maxAckPending = config.MaxAckPending
	c.await(config)
	return nil
}

// await says that what the consumer gets in memory is expected here.
func (c *Consumer) await(config jetstream.ConsumerConfig) {
	var subjects []string
	for _, filter := range append(config.FilterSubjects, config.FilterSubject) {
		if _, subject, ok := strings.Cut(strings.TrimPrefix(filter, publish.MemoryPrefix), "."); ok && strings.HasPrefix(filter, publish.MemoryPrefix) {
			subjects = append(subjects, subject)
		}
	}
	if len(subjects) == 0 {
		return
	}
	if awaited, err := c.memory.reader.Await(subjects...); err == nil { // otherwise there is no feeder on this host
		c.memory.await(awaited)
	}
}

// withPlaces returns the subjects of a consumer that is to be created.
func (c *Consumer) withPlaces(o ConsumerOptions) []string {
	if o.Memory == "" || o.Memory == memoryOff {
		return o.Subjects
	}
	host, err := c.memory.reader.Host()
	if err != nil {
		return o.Subjects // there is no feeder on this host
	}
	all := slices.Clone(o.Subjects)
	for _, subject := range o.Subjects {
		all = append(all, publish.MemorySubject(host, subject))
	}
	return all
}

// fetch brings what lies in memory.
func (c *Consumer) fetch(m publish.Message) publish.Message {
	if !strings.HasPrefix(m.Subject, publish.MemoryPrefix) {
		return m
	}
	return c.memory.fetch(m)
}

// Lost returns how many tensors in memory came too late to be read there. Each of them was
// delivered as a gap.
func (c *Consumer) Lost() int { return int(c.memory.lost.Load()) }

// Deliveries returns tensors and inline gaps until ctx ends. They are in order for each
// subject, except those that are delivered again. Acknowledge each one with
// [Delivery.Ack] once its results are safe. At most a few messages, of at most 32 MB, are
// requested in advance; those that the loop does not reach are given back.
//
// A [*MessageError] is about one malformed message, which is not delivered again. The
// loop can go on. Any other error is the last one, because the consumer or its stream is
// gone. Only one loop can run at a time.
func (c *Consumer) Deliveries(ctx context.Context) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		parts := newAssembly(&c.incomplete, c.maxAckPending)
		parts.fetch = c.fetch
		for ctx.Err() == nil {
			err := c.pull(ctx, parts, yield)
			switch {
			case err == nil:
			case errors.Is(err, errStopped):
				return
			case c.gone(ctx, err):
				yield(Delivery{}, err)
				return
			default:
				c.conn.Log().Debug("pulling failed, trying again", "err", err)
				c.pause(ctx)
			}
		}
	}
}

// errStopped says that the reader has left the loop.
var errStopped = errors.New("stopped")

// pull requests some messages and yields their deliveries. The error is that of the
// request.
func (c *Consumer) pull(ctx context.Context, parts *assembly, yield func(Delivery, error) bool) error {
	limited, cancel := context.WithTimeout(ctx, pullWait)
	defer cancel()
	most := max(1, pullBytes/max(1, c.conn.MaxPayload()))
	batch, err := c.consumer.Fetch(min(pullMessages, most), jetstream.FetchContext(limited))
	if err != nil {
		return fmt.Errorf("pulling: %w", err)
	}
	stopped := false
	for m := range batch.Messages() {
		if stopped || ctx.Err() != nil {
			stopped = true
			_ = m.Nak() // at worst it is delivered again after AckWait
			cancel()
			continue
		}
		d, ok, err := parts.add(m)
		if (ok || err != nil) && !yield(d, err) {
			stopped = true
			cancel() // ends the batch
		}
	}
	switch err := batch.Error(); {
	case stopped:
		return errStopped
	case err != nil && limited.Err() == nil:
		return fmt.Errorf("pulling: %w", err)
	}
	return nil
}

// gone tells whether the consumer does not exist any more, which a retry does not fix.
func (c *Consumer) gone(ctx context.Context, err error) bool {
	if errors.Is(err, jetstream.ErrConsumerDeleted) {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, pullWait)
	defer cancel()
	_, err = c.consumer.Info(ctx)
	return errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound)
}

// pause waits for a moment and for the connection.
func (c *Consumer) pause(ctx context.Context) {
	if pacing.Sleep(ctx, retryWait) != nil {
		return
	}
	select {
	case <-c.conn.Up():
	case <-ctx.Done():
	}
}

// Incomplete returns how many tensors were given up because parts of them were missing.
func (c *Consumer) Incomplete() int { return int(c.incomplete.Load()) }

// Close sends the acks that have not been sent yet, and ends the connection.
func (c *Consumer) Close(ctx context.Context) error {
	err := c.conn.Flush(ctx)
	c.conn.Close()
	c.memory.end()
	return err
}

// message returns m in the form of the package publish.
func message(m jetstream.Msg) publish.Message {
	return publish.Message{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()}
}
