package deliver_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// sizes are those of messages around what the client buffers, and what is written past
// it in one piece.
var sizes = []int{0, 100, 15_900, 16_200, 32_000, 32_900, 65_000, 66_000, 300_000}

// ways are how messages get to a server, each with how its readers get there.
func ways(t *testing.T) map[string]struct{ publish, read dial.Options } {
	plain := natstest.Serve(t, embedded.Options{})
	ca := natstest.NewAuthority(t)
	pair := natstest.Must[tls.Certificate](t)(tls.LoadX509KeyPair(ca.Sign(t, "server")))
	secure := natstest.Start(t, &server.Options{
		TLS: true, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
	})
	tcp, overTLS := dial.Options{URL: plain.ClientURL()}, dial.Options{URL: secure.ClientURL(), TLS: dial.TLS{CA: ca.File}}
	return map[string]struct{ publish, read dial.Options }{
		"TCP":                {tcp, tcp},
		"TLS":                {overTLS, overTLS},
		"in process":         {dial.Options{Server: plain}, tcp},
		"through the client": {dial.Options{URL: plain.ClientURL(), NoDirectWrites: true}, tcp},
	}
}

// TestOrder publishes messages of all sizes in any order, on one subject and on several,
// and expects each subject's in the order of the calls.
func TestOrder(t *testing.T) {
	const n = 600
	for way, o := range ways(t) {
		for _, streams := range []int{1, 5} {
			t.Run(fmt.Sprint(way, "/", streams), func(t *testing.T) {
				o.publish.DataConnections = 2
				conn := conntest.Dial(t, o.publish)
				live := deliver.NewLive(conn, publish.NoGaps)
				sub, err := consume.Subscribe(o.read, "cvf.t.>")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(sub.Close)
				conntest.WaitConnected(t, conn, sub)
				next := map[string]int{}
				for i := range n {
					m := conntest.Numbered(i/streams, sizes[rand.IntN(len(sizes))])
					stream := fmt.Sprint("cam-", i%streams)
					m.Subject = "cvf.t." + stream + ".detector"
					m.Header[publish.HeaderStream] = []string{stream}
					conntest.Send(t, live, m)
					if i%50 == 49 { // what is not read in time would be lost
						readInOrder(t, sub, next, 50)
					}
				}
			})
		}
	}
}

// readInOrder reads so many messages, and expects the next numbers on each subject.
func readInOrder(t *testing.T, sub *consume.Subscription, next map[string]int, n int) {
	t.Helper()
	for range n {
		m := conntest.Next(t, sub)
		if got, want := conntest.Number(m), strconv.Itoa(next[m.Subject]); got != want {
			t.Fatalf("%s: message %s came where %s is next", m.Subject, got, want)
		}
		next[m.Subject]++
	}
}

// TestOrderOfInlineGaps: a gap of one slot, which is small, comes before the tensor of
// the next one, which is large.
func TestOrderOfInlineGaps(t *testing.T) {
	spec, err := transform.Preset("imagenet") // 602,112 bytes
	if err != nil {
		t.Fatal(err)
	}
	size, _ := spec.Bytes()
	out := &transform.Output{Name: "detector", Spec: spec, Fingerprint: "f"}
	routes := []publish.Route{{Output: out, Subject: subject}}
	srv := natstest.Serve(t, embedded.Options{})
	conn, sub := conntest.Dial(t, dial.Options{URL: srv.ClientURL()}), conntest.Subscribe(t, srv.ClientURL(), subject)
	live := deliver.NewLive(conn, publish.InlineGaps)
	conntest.WaitConnected(t, conn, sub)
	for i := range 300 {
		gap, tensor := conntest.Slot(2*i), conntest.Slot(2*i+1)
		if err := live.Gap(t.Context(), publish.Gap{Stream: "cam-1", From: gap, To: gap, Slots: 1, Reason: "no_media"}, routes); err != nil {
			t.Fatal(err)
		}
		m := conntest.TensorMessage(subject, tensor, 100)
		m.Data = make([]byte, size)
		conntest.Send(t, live, m)
		for _, want := range []source.Slot{gap, tensor} {
			if got := slotOf(conntest.Next(t, sub).Header); got != want {
				t.Fatalf("slot %v came where %v is next", got, want)
			}
		}
	}
}

// TestOrderAcrossReconnects publishes while the connection is cut again and again: some
// messages are lost, but none arrives after a later one, and none twice.
func TestOrderAcrossReconnects(t *testing.T) {
	for name, direct := range map[string]bool{"direct": true, "through the client": false} {
		t.Run(name, func(t *testing.T) {
			b := natstest.StartBroker(t)
			conn, sub := conntest.Dial(t, dial.Options{URL: b.URL(), NoDirectWrites: !direct}), conntest.Subscribe(t, b.Server.ClientURL(), subject)
			live := deliver.NewLive(conn, publish.NoGaps)
			conntest.WaitConnected(t, conn, sub)
			var arrived atomic.Pointer[[]int]
			arrived.Store(new([]int))
			reading, stop := context.WithCancel(t.Context())
			defer stop()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for {
					m, err := sub.Next(reading)
					if err != nil {
						return
					}
					n, err := strconv.Atoi(conntest.Number(m))
					if err != nil {
						t.Error(err)
					}
					all := append(slices.Clone(*arrived.Load()), n)
					arrived.Store(&all)
				}
			}()
			pace := time.NewTicker(500 * time.Microsecond)
			defer pace.Stop()
			const cuts = 5
			published, n := 0, 0
			for conn.States()[0].Reconnects < cuts {
				<-pace.C
				m := conntest.Numbered(n, sizes[rand.IntN(len(sizes))])
				n++
				err := live.Publish(t.Context(), m)
				var drop *publish.DropError
				switch {
				case err == nil:
					published++
				case !errors.As(err, &drop):
					t.Fatal(err)
				}
				if published%200 == 199 {
					published++
					b.Toxic(`{"type":"reset_peer","stream":"upstream","attributes":{"timeout":0}}`)
					time.AfterFunc(50*time.Millisecond, b.Heal)
				}
			}
			conntest.WaitConnected(t, conn)
			last := conntest.Numbered(n, 10)
			natstest.Eventually(t, "the last message goes out", func() bool { return live.Publish(t.Context(), last) == nil })
			natstest.Eventually(t, "the last message arrives", func() bool {
				all := *arrived.Load()
				return len(all) > 0 && all[len(all)-1] == n
			})
			stop()
			<-ended
			all := *arrived.Load()
			for i := 1; i < len(all); i++ {
				if all[i] <= all[i-1] {
					t.Fatalf("message %d came after %d", all[i], all[i-1])
				}
			}
			t.Logf("%d of %d messages arrived", len(all), n+1)
		})
	}
}
