// Package consume reads the tensors that cvfeeder publishes over NATS.
//
// [Subscribe] reads everything that is published from now on, [SubscribeNewest] only the
// newest tensor of each camera, and [Consume] what JetStream keeps until it is
// acknowledged. All of them return deliveries in a loop. A delivery is a tensor, which
// is put together if it came in parts, or a gap:
//
//	sub, err := consume.SubscribeNewest(dial.Options{URL: "nats://127.0.0.1:4222"}, "cvf.t.*.detector", "cvf.gap.>")
//	if err != nil {
//		return err
//	}
//	defer sub.Close()
//	for d, err := range sub.Tensors(ctx) {
//		switch {
//		case err != nil:
//			log.Print(err) // one bad message; the next may be fine
//		case d.Gap != nil:
//			log.Printf("%s: no frames from %v to %v", d.Stream, d.Gap.From, d.Gap.To)
//		default:
//			detect(d.Tensor)
//		}
//	}
//
// [Batched] gives a model several tensors at a time, in one block of memory.
//
// See publish/nats/dial for the options of the connection, such as credentials and TLS,
// and publish/tensor for what to do with a tensor, such as reading its numbers and
// mapping boxes back to the picture.
//
// The package is larger than most packages because it is all that a program in Go needs to
// read: whichever way tensors come, over core NATS, from JetStream, on request or in memory, they
// are joined, bounded and returned alike.
//
// All of this package is for importers, who can rely on it. It links the NATS client but
// no NATS server.
package consume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/internal/payloads"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// ErrClosed is returned by [Subscription.Next] after Close.
var ErrClosed = errors.New("subscription closed")

// A Subscription receives messages. If its reader does not keep up, messages are lost and
// counted.
type Subscription struct {
	conn *dial.Connection
	subs []*nats.Subscription
	done chan struct{}
	ends sync.WaitGroup
	once sync.Once

	filled     chan struct{} // has a value while there may be something to take
	queues     queues
	newest     *mailbox        // nil if all messages are kept
	store      *payloads.Store // where large payloads are received
	incomplete atomic.Int64

	places *places // nil if memory is not read
	borrow bool
}

// Options are those of [Open].
type Options struct {
	// Newest keeps only the newest tensor of each subject: see [SubscribeNewest].
	Newest bool
	// Memory is the directory in which feeders of this host share memory, "off" for none.
	// Default: that of the environment variable CVFEEDER_MEMORY, or [memory.DefaultDir].
	Memory string
	// Borrow leaves tensors where the feeder has made them, if they come in memory. Each
	// delivery is then to be released, see [Delivery.Release], before the feeder runs out of
	// memory. Default: they are copied.
	Borrow bool
}

// Subscribe starts to read the given subjects, which can have wildcards, over a connection
// of its own. Like [dial.Dial], it does not wait for a server that is down.
//
// Tensors of feeders on the same host come in memory, if both have the same directory for that:
// see [Options] and publish/memory. Nothing else changes, but that a tensor which came too late
// to be read there is a gap, of the reason [memory.ReasonOverwritten].
func Subscribe(o dial.Options, subjects ...string) (*Subscription, error) {
	return Open(o, Options{}, subjects...)
}

// Open is [Subscribe] with options.
func Open(o dial.Options, c Options, subjects ...string) (*Subscription, error) {
	s, err := newSubscription(o)
	if err != nil {
		return nil, err
	}
	if c.Newest {
		s.newest = &mailbox{room: newestBytes, filled: s.filled, joiner: countingJoiner(&s.incomplete)}
	}
	s.borrow = c.Borrow
	s.readMemory(c.Memory, subjects)
	if err := s.addAll(subjects); err != nil {
		return nil, err
	}
	return s, nil
}

func newSubscription(o dial.Options) (*Subscription, error) {
	store := payloads.NewStore()
	conn, err := dial.ConnectReader(o, "subscription", store)
	if err != nil {
		return nil, err
	}
	filled := make(chan struct{}, 1)
	return &Subscription{conn: conn, done: make(chan struct{}), filled: filled, store: store, queues: queues{filled: filled}}, nil
}

func (s *Subscription) addAll(subjects []string) error {
	for _, subject := range subjects {
		if err := s.add(subject); err != nil {
			s.Close()
			return fmt.Errorf("subject %q: %w", subject, err)
		}
	}
	return nil
}

func (s *Subscription) add(subject string) error {
	put := s.queues.add()
	if s.newest != nil {
		put = s.newest.put
	}
	if s.places != nil {
		sub, err := s.places.line(subject, put)
		if err == nil {
			s.subs = append(s.subs, sub)
		}
		return err
	}
	sub, err := s.conn.Client().Subscribe(subject, func(m *nats.Msg) {
		put(publish.Message{Subject: m.Subject, Header: m.Header, Data: s.store.Data(m.Header, m.Data, direct(m.Sub, put))})
	})
	if err != nil {
		return err
	}
	s.ends.Add(1)
	sub.SetClosedHandler(func(string) { s.ends.Done() })
	s.subs = append(s.subs, sub)
	return sub.SetPendingLimits(pendingMessages, pendingBytes)
}

// direct returns what handles a message of sub that has not gone through the client.
func direct(sub *nats.Subscription, put func(publish.Message)) payloads.Take {
	return func(subject string, header, data []byte) bool {
		// What is being handled counts as pending.
		if pending, _, err := sub.Pending(); err != nil || pending > 0 {
			return false
		}
		h, err := nats.DecodeHeadersMsg(header)
		if err != nil {
			return false // the client will report it
		}
		put(publish.Message{Subject: subject, Header: h, Data: data})
		return true
	}
}

// Next returns the next message as it arrived, or ctx's error, or [ErrClosed].
func (s *Subscription) Next(ctx context.Context) (publish.Message, error) {
	take := s.queues.take
	if s.newest != nil {
		take = s.newest.take
	}
	for {
		select {
		case <-s.filled:
			if m, ok := take(); ok {
				return s.own(m), nil
			}
		case <-ctx.Done():
			return publish.Message{}, ctx.Err()
		case <-s.done:
			return publish.Message{}, ErrClosed
		}
	}
}

// WaitConnected returns nil once the subscription is active. Its errors are those of
// [dial.Conn.WaitConnected].
func (s *Subscription) WaitConnected(ctx context.Context) error {
	if err := s.conn.WaitConnected(ctx); err != nil {
		return err
	}
	return s.conn.Flush(ctx)
}

// Missed returns how many messages were lost because they were not read in time. Each
// part of a tensor counts.
func (s *Subscription) Missed() int {
	missed := s.queues.lost()
	if s.newest != nil {
		missed = s.newest.lost()
	}
	for _, sub := range slices.Concat(s.subs, s.places.all()) {
		n, err := sub.Dropped()
		if err == nil { // it fails only once the subscription has ended
			missed += n
		}
	}
	return missed
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.once.Do(func() {
		close(s.done)
		s.places.end()
		s.conn.Close()
		s.ends.Wait()
		s.queues.clear()
		if s.newest != nil {
			s.newest.clear()
		}
		s.places.close()
	})
}
