package interest

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// known is how long the consumers of a stream are taken to be the same.
const known = time.Second

// Consumers are those of a JetStream stream. They are looked up at most once a second,
// however many ask. It is safe for concurrent use.
type Consumers struct {
	on     *dial.Connection
	stream string

	mu      sync.Mutex // held while they are looked up
	at      time.Time
	filters [][]string // the subjects that each of them gets
	err     error
}

// NewConsumers returns those of a stream, which need not exist yet.
func NewConsumers(on *dial.Connection, stream string) *Consumers {
	return &Consumers{on: on, stream: stream}
}

// Some returns whether the stream has a consumer that gets the messages of a subject, whether
// its reader is there or not. The error wraps [ErrDown], or is JetStream's or ctx's.
func (c *Consumers) Some(ctx context.Context, subject string) (bool, error) {
	all, err := c.now(ctx)
	for _, filters := range all {
		for _, f := range filters {
			if matches(f, subject) {
				return true, nil
			}
		}
	}
	return false, err
}

// now returns the subjects that each consumer gets. The errors are those of [Consumers.Some].
func (c *Consumers) now(ctx context.Context) ([][]string, error) {
	if !c.on.Connected() {
		return nil, ErrDown
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); c.at.IsZero() || now.Sub(c.at) >= known {
		filters, err := c.look(ctx)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		c.at, c.filters, c.err = now, filters, err
	}
	if c.err != nil {
		return nil, c.err
	}
	return c.filters, nil
}

func (c *Consumers) look(ctx context.Context) ([][]string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	stream, err := c.on.JetStream().Stream(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	var filters [][]string
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		filters = append(filters, filtersOf(info.Config))
	}
	return filters, list.Err()
}

// filtersOf returns the subjects that a consumer gets.
func filtersOf(c jetstream.ConsumerConfig) []string {
	switch {
	case len(c.FilterSubjects) > 0:
		return c.FilterSubjects
	case c.FilterSubject != "":
		return []string{c.FilterSubject}
	}
	return []string{">"}
}

// matches tells whether a subject is one of those that a filter, which may have wildcards,
// stands for.
func matches(filter, subject string) bool {
	f, s := strings.Split(filter, "."), strings.Split(subject, ".")
	for i, token := range f {
		switch {
		case token == ">":
			return len(s) > i
		case i >= len(s), token != "*" && token != s[i]:
			return false
		}
	}
	return len(f) == len(s)
}
