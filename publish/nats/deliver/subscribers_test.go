package deliver_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/transform"
)

// TestInterest: what nobody listens to is not asked for, but for a trial a second;
// and a listener is found wherever the servers' connections lead to.
func TestInterest(t *testing.T) {
	for name, topology := range natstest.Topologies() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			here, there := topology(t)
			conn := conntest.Dial(t, dial.Options{URL: here, DataConnections: 2})
			live := deliver.NewLive(conn, publish.GapEvents)
			conntest.WaitConnected(t, conn)
			if !live.Watched(subject) {
				t.Error("nothing is known, and nobody is taken to listen")
			}
			for i := range 2 {
				natstest.Eventually(t, "a trial comes", func() bool { return live.Watched(subject) })
				if err := live.Publish(t.Context(), conntest.Numbered(i, 100)); !errors.Is(err, publish.ErrUnwatched) {
					t.Errorf("nobody listens, and Publish returns %v", err)
				}
				if live.Watched(subject) {
					t.Error("nobody listens, and another message is wanted at once")
				}
			}

			sub := conntest.Subscribe(t, there, "cvf.t.>")
			conntest.WaitConnected(t, sub)
			n := 2
			natstest.Eventually(t, "the listener is found", func() bool {
				if live.Watched(subject) && live.Publish(t.Context(), conntest.Numbered(n, 100)) == nil {
					n++
				}
				return n > 10
			})
			conntest.Next(t, sub)
			if !live.Watched("cvf.t.other.detector") {
				t.Error("a subject that was never used is taken to be idle")
			}
		})
	}
}

// TestAwayWins: while the broker is away, that nobody listened does not matter: messages
// are wanted, and dropped.
func TestAwayWins(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL()})
	live := deliver.NewLive(conn, publish.GapEvents)
	conntest.WaitConnected(t, conn)
	if err := live.Publish(t.Context(), conntest.Numbered(0, 100)); !errors.Is(err, publish.ErrUnwatched) {
		t.Fatalf("nobody listens, and Publish returns %v", err)
	}
	srv.Shutdown()
	var drop *publish.DropError
	for i := 1; i < 10; i++ {
		natstest.Eventually(t, "the message is wanted", func() bool { return live.Watched(subject) })
		if err := live.Publish(t.Context(), conntest.Numbered(i, 100)); !errors.As(err, &drop) {
			t.Errorf("the broker is away, and Publish returns %v", err)
		}
	}
}

// TestInlineGapWithoutListener is told all the same: it must not hold up the cursor.
func TestInlineGapWithoutListener(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL()})
	live := deliver.NewLive(conn, publish.InlineGaps)
	conntest.WaitConnected(t, conn)
	routes := []publish.Route{{Output: &transform.Output{Name: "detector"}, Subject: subject}}
	if err := live.Gap(t.Context(), publish.Gap{Stream: "front-door", From: 1000, To: 2000, Slots: 2, Reason: "no_media"}, routes); err != nil {
		t.Error(err)
	}
}

// TestAStreamListens: what JetStream stores is listened to, and its answers do no
// harm.
func TestAStreamListens(t *testing.T) {
	_, conn, js := conntest.Store(t)
	live := deliver.NewLive(conn, publish.GapEvents)
	conntest.WaitConnected(t, conn)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "mine", Subjects: []string{"cvf.t.>"}}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		conntest.Send(t, live, conntest.Numbered(i, 100))
		if err := conn.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !live.Watched(subject) {
			t.Fatal("the stream is not taken for a listener")
		}
	}
}

// BenchmarkReply compares messages that name a subject for answers with such that
// do not, as nats.go sends them, where somebody listens.
func BenchmarkReply(b *testing.B) {
	srv, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	defer srv.Shutdown()
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Subscribe("cvf.t.>", func(*nats.Msg) {}); err != nil {
		b.Fatal(err)
	}
	data := make([]byte, 1_228_800)
	for _, reply := range []string{"", "_INBOX.0123456789012345678901.1"} {
		b.Run(fmt.Sprintf("reply=%t", reply != ""), func(b *testing.B) {
			for b.Loop() {
				if err := nc.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: data}); err != nil {
					b.Fatal(err)
				}
			}
			if err := nc.Flush(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
