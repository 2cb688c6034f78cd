package deliver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/publish/publishtest"
)

var allGapModes = []publish.GapMode{publish.NoGaps, publish.GapEvents, publish.InlineGaps}

// TestLive runs the suite of all deliveries, with the ways that messages can take.
func TestLive(t *testing.T) {
	for way, o := range ways(t) {
		modes := allGapModes
		if way != "TCP" {
			modes = []publish.GapMode{publish.InlineGaps}
		}
		for _, gaps := range modes {
			t.Run(fmt.Sprint(way, "/", gaps), func(t *testing.T) {
				publishtest.TestDelivery(t, func(t *testing.T) publishtest.Harness {
					conn, seen := conntest.Dial(t, o.publish), watch(t, o.read, "cvf.>")
					conntest.WaitConnected(t, conn)
					return publishtest.Harness{
						Delivery: deliver.NewLive(conn, gaps), Gaps: gaps, Received: seen.messages,
						Close: func() { _ = conn.Close(t.Context()) },
						Quiet: "quiet", Listen: func() func() {
							sub, err := consume.Subscribe(o.read, "quiet")
							if err != nil {
								t.Fatal(err)
							}
							conntest.WaitConnected(t, sub)
							return sub.Close
						},
					}
				})
			})
		}
	}
}

// TestStored runs the suite with each kind of stream.
func TestStored(t *testing.T) {
	const many = 1000 // more than the suite publishes
	for name, stream := range map[string]deliver.StreamOptions{
		"ring":           {Kind: deliver.Ring, Keep: many},
		"durable":        {Kind: deliver.Durable},
		"durable-limits": {Kind: deliver.Durable, Limits: true},
	} {
		modes := allGapModes
		if stream.Limits {
			modes = []publish.GapMode{publish.InlineGaps}
		}
		for _, gaps := range modes {
			t.Run(fmt.Sprint(name, "/", gaps), func(t *testing.T) {
				t.Parallel()
				publishtest.TestDelivery(t, func(t *testing.T) publishtest.Harness {
					url, conn, js := conntest.Store(t)
					o := options()
					o.Stream.Limits, o.Stream.Keep, o.Gaps = stream.Limits, stream.Keep, gaps
					stored := &storedMessages{t: t, js: js, messages: map[string][]publish.Message{}}
					events := watch(t, dial.Options{URL: url}, publish.GapPrefix+"*")
					return publishtest.Harness{
						Delivery: opened(t, conn, stream.Kind, o), Gaps: gaps,
						Received: func(subject string) []publish.Message {
							if strings.HasPrefix(subject, publish.GapPrefix) {
								return events.messages(subject)
							}
							return stored.of(subject)
						},
						Close: func() { _ = conn.Close(t.Context()) },
						Quiet: "cvf.t.nobody.detector", Listen: func() func() { return listenStored(t, js, "cvf.t.nobody.*") },
					}
				})
			})
		}
	}
}

// listenStored makes a consumer of a stream's messages, until leave is called.
func listenStored(t *testing.T, js jetstream.JetStream, filter string) (leave func()) {
	t.Helper()
	name := options().Stream.Config().Name
	c, err := js.CreateConsumer(t.Context(), name, jetstream.ConsumerConfig{FilterSubject: filter})
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := js.DeleteConsumer(t.Context(), name, c.CachedInfo().Name); err != nil {
			t.Error(err)
		}
	}
}

// A watcher keeps what a subscriber gets.
type watcher struct {
	mu  sync.Mutex
	got map[string][]publish.Message
}

func watch(t *testing.T, o dial.Options, subject string) *watcher {
	t.Helper()
	sub, err := consume.Subscribe(o, subject)
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{got: map[string][]publish.Message{}}
	var reading sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() { stop(); reading.Wait(); sub.Close() })
	conntest.WaitConnected(t, sub)
	reading.Go(func() {
		for {
			m, err := sub.Next(ctx)
			if err != nil {
				return
			}
			w.mu.Lock()
			w.got[m.Subject] = append(w.got[m.Subject], m)
			w.mu.Unlock()
		}
	})
	return w
}

func (w *watcher) messages(subject string) []publish.Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got[subject])
}

// storedMessages reads a stream, of which nothing is deleted.
type storedMessages struct {
	t        *testing.T
	js       jetstream.JetStream
	last     uint64 // sequence that was read
	messages map[string][]publish.Message
}

// of returns the messages of a subject.
func (s *storedMessages) of(subject string) []publish.Message {
	s.t.Helper()
	stream, err := s.js.Stream(s.t.Context(), dial.DefaultStream)
	if err != nil {
		s.t.Fatal(err)
	}
	for ; s.last < stream.CachedInfo().State.LastSeq; s.last++ {
		m, err := stream.GetMsg(s.t.Context(), s.last+1)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			s.t.Fatal(err)
		}
		s.messages[m.Subject] = append(s.messages[m.Subject], publish.Message{Subject: m.Subject, Header: m.Header, Data: m.Data})
	}
	return slices.Clone(s.messages[subject])
}

// TestConfirmOfEvents: an event that may not have arrived keeps cursors from being saved.
func TestConfirmOfEvents(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{StoreDir: t.TempDir()})
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL()})
	o := options()
	o.Gaps = publish.GapEvents
	stored := opened(t, conn, deliver.Ring, o)
	if err := stored.Gap(t.Context(), publish.Gap{Stream: "cam-1", Slots: 1, Reason: "no_media"}, nil); err != nil {
		t.Fatal(err)
	}
	srv.Shutdown()
	natstest.Eventually(t, "the connections are down", func() bool { return !conntest.Connected(conn) })
	for range 2 {
		if err := stored.Confirm(t.Context()); !errors.Is(err, dial.ErrNotConnected) {
			t.Errorf("confirm without a server: %v", err)
		}
	}
}
