package consume_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

// storage is a work queue for the tensors, on a server of its own.
type storage struct {
	t      *testing.T
	js     jetstream.JetStream
	stream jetstream.Stream
	server *embedded.Server
}

func newStorage(t *testing.T) *storage {
	t.Helper()
	srv := natstest.Serve(t, embedded.Options{StoreDir: t.TempDir()})
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closed := make(chan struct{})
		nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
		nc.Close()
		<-closed
	})
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: dial.DefaultStream, Subjects: []string{"cvf.t.*.*"}, Retention: jetstream.WorkQueuePolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &storage{t, js, stream, srv}
}

func (s *storage) put(messages ...publish.Message) {
	s.t.Helper()
	for i, m := range messages {
		delete(m.Header, publish.HeaderMsgID) // for messages that come twice
		if _, err := s.js.PublishMsg(s.t.Context(), &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}); err != nil {
			s.t.Fatalf("message %d: %v", i, err)
		}
	}
}

// left waits for so many messages to remain in the stream.
func (s *storage) left(want uint64) {
	s.t.Helper()
	natstest.Eventually(s.t, fmt.Sprintf("%d messages are left", want), func() bool {
		info, err := s.stream.Info(s.t.Context())
		return err == nil && info.State.Msgs == want
	})
}

func (s *storage) consume(o consume.ConsumerOptions) *consume.Consumer {
	s.t.Helper()
	if o.Name == "" {
		o.Name = "model"
	}
	c, err := consume.Consume(s.t.Context(), dial.Options{Server: s.server}, o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// drain returns the next n deliveries, each of which it treats with settle.
func drain(t *testing.T, c *consume.Consumer, n int, settle func(consume.Delivery) error) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []string
	for d, err := range c.Deliveries(ctx) {
		got = append(got, show(d, err))
		if err := settle(d); err != nil {
			t.Fatal(err)
		}
		if len(got) == n {
			break
		}
	}
	return got
}

func TestConsume(t *testing.T) {
	s := newStorage(t)
	first := parts(t, picture(1))
	noPart := parts(t, picture(6))[0]
	noPart.Header[publish.HeaderChunk] = []string{"0/3"}
	short := picture(6)
	short.Data = short.Data[1:]
	s.put(picture(0), first[0], first[1], first[1], first[2], first[2],
		publish.NewInlineGap(subject, gapOf(2, 3), gray), short, noPart, picture(7))
	c := s.consume(consume.ConsumerOptions{Subjects: []string{subject}})
	want := []string{"0", "1", "gap 2 to 3 detector", "error", "error", "7"}
	if diff := cmp.Diff(want, drain(t, c, len(want), consume.Delivery.Ack)); diff != "" {
		t.Error(diff)
	}
	s.left(0)
	if c.Incomplete() != 0 {
		t.Errorf("%d incomplete", c.Incomplete())
	}
}

func TestConsumeAgainWhatWasNotAcknowledged(t *testing.T) {
	s := newStorage(t)
	s.put(parts(t, picture(0))...)
	s.put(picture(1))
	s.put(parts(t, picture(2))...)
	c := s.consume(consume.ConsumerOptions{AckWait: 200 * time.Millisecond})
	none := func(consume.Delivery) error { return nil }
	if diff := cmp.Diff([]string{"0", "1"}, drain(t, c, 2, none)); diff != "" {
		t.Error(diff)
	}
	// Both come again, in whatever order to the third.
	seen := make(map[string]bool)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for d, err := range c.Deliveries(ctx) {
		seen[show(d, err)] = true
		if err := d.Ack(); err != nil {
			t.Fatal(err)
		}
		if len(seen) == 3 {
			break
		}
	}
	if diff := cmp.Diff(map[string]bool{"0": true, "1": true, "2": true}, seen); diff != "" {
		t.Error(diff)
	}
	s.left(0)
}

func TestNakBringsItAgainAtOnce(t *testing.T) {
	s := newStorage(t)
	s.put(parts(t, picture(3))...)
	c := s.consume(consume.ConsumerOptions{AckWait: time.Hour})
	refused := false
	got := drain(t, c, 2, func(d consume.Delivery) error {
		if !refused {
			refused = true
			return d.Nak()
		}
		return d.Ack()
	})
	if diff := cmp.Diff([]string{"3", "3"}, got); diff != "" {
		t.Error(diff)
	}
	s.left(0)
}

// TestAnotherReaderGoesOn: what one reader pulled and did not take is there for
// the next one at once, and the consumer is found again by its name.
func TestAnotherReaderGoesOn(t *testing.T) {
	s := newStorage(t)
	for n := range 6 {
		s.put(picture(n))
	}
	c := s.consume(consume.ConsumerOptions{AckWait: time.Hour})
	if diff := cmp.Diff([]string{"0"}, drain(t, c, 1, consume.Delivery.Ack)); diff != "" {
		t.Error(diff)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c = s.consume(consume.ConsumerOptions{})
	if got := drain(t, c, 5, consume.Delivery.Ack); len(got) != 5 {
		t.Errorf("got %v", got)
	}
	s.left(0)
}

func TestIncompleteTensorsAreGivenUp(t *testing.T) {
	s := newStorage(t)
	lost := parts(t, picture(0))
	s.put(lost[0], lost[2], picture(1))
	c := s.consume(consume.ConsumerOptions{AckWait: 200 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for d, err := range c.Deliveries(ctx) { // the whole one comes again and again
		if got := show(d, err); got != "1" {
			t.Errorf("got %s", got)
		}
		if c.Incomplete() == 0 {
			continue
		}
		if err := d.Ack(); err != nil {
			t.Error(err)
		}
		break
	}
	if c.Incomplete() != 1 {
		t.Errorf("%d incomplete", c.Incomplete())
	}
	s.left(0)
}

func TestConsumerErrors(t *testing.T) {
	s := newStorage(t)
	_, err := s.stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{
		Durable: "few", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 2, FilterSubject: subject,
	})
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "other", Subjects: []string{"other.>"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "all", AckPolicy: jetstream.AckAllPolicy}); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]consume.ConsumerOptions{
		"no name":          {},
		"stream not found": {Name: "x", Stream: "missing"},
		"must be explicit": {Name: "all", Stream: "other"},
	} {
		if _, err := consume.Consume(t.Context(), dial.Options{Server: s.server}, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell %q", err, want)
		}
	}

	s.put(parts(t, picture(0))[0])
	c := s.consume(consume.ConsumerOptions{Name: "few"})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var all []error
	for _, err := range c.Deliveries(ctx) {
		all = append(all, err)
		if len(all) == 1 {
			if err := s.stream.DeleteConsumer(t.Context(), "few"); err != nil {
				t.Fatal(err)
			}
		}
	}
	var broken *consume.MessageError
	if len(all) != 2 || !errors.As(all[0], &broken) || !strings.Contains(all[0].Error(), "max_ack_pending") || errors.As(all[1], &broken) {
		t.Errorf("errors %v", all)
	}
}

// TestBatchesOfJetStream: Ack is for all that a batch holds, and so is Nak.
func TestBatchesOfJetStream(t *testing.T) {
	s := newStorage(t)
	s.put(picture(0), picture(1), picture(2), publish.NewInlineGap(subject, gapOf(3, 4), gray), picture(5))
	c := s.consume(consume.ConsumerOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []string
	for b, err := range consume.Batched(ctx, c.Deliveries, consume.BatchOptions{Size: 2, Within: time.Hour}) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Other != nil {
			got = append(got, show(*b.Other, nil))
		}
		for _, row := range b.Rows {
			got = append(got, show(row, nil))
		}
		settle := b.Ack
		if len(got) == 3 {
			settle = b.Nak // the one before the gap
		}
		if err := settle(); err != nil {
			t.Fatal(err)
		}
		if len(got) == 6 {
			break
		}
	}
	slices.Sort(got[4:])
	if diff := cmp.Diff([]string{"0", "1", "2", "gap 3 to 4 detector", "2", "5"}, got); diff != "" {
		t.Error(diff)
	}
	s.left(0)
}
