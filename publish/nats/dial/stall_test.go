package dial_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

func TestStalledPeer(t *testing.T) {
	const timeout = 200 * time.Millisecond
	srv := natstest.Serve(t, embedded.Options{})
	for _, size := range []int{100_000, 1_000_000, 8_000_000, -8_000_000} {
		throughClient := size < 0
		size = max(size, -size)
		t.Run(fmt.Sprint(size, " through the client: ", throughClient), func(t *testing.T) {
			proxy := natstest.NewStallProxy(t, srv.ClientURL())
			conn := conntest.Dial(t, dial.Options{URL: proxy.Addr().String(), WriteTimeout: timeout, NoDirectWrites: throughClient})
			live := deliver.NewLive(conn, publish.GapEvents)
			sub := conntest.Subscribe(t, srv.ClientURL(), subject)
			conntest.WaitConnected(t, conn, sub)
			conntest.Send(t, live, conntest.Numbered(0, 10))
			if got := conntest.Number(conntest.Next(t, sub)); got != "0" {
				t.Fatalf("message %s", got)
			}

			proxy.Stall()
			reasons := map[string]int{}
			natstest.Eventually(t, "the connection is given up", func() bool {
				start := time.Now()
				err := live.Publish(t.Context(), conntest.Numbered(1, size))
				if took := time.Since(start); took > 2*timeout+time.Second {
					t.Errorf("Publish took %v", took)
				}
				if err == nil {
					return false
				}
				reasons[conntest.DropReason(t, err)]++
				return reasons[publish.DropDisconnected] > 0 || !conn.States()[0].Connected
			})
			for reason := range reasons {
				if reason != publish.DropSlow && reason != publish.DropDisconnected {
					t.Errorf("reasons: %v", reasons)
				}
			}

			proxy.Resume()
			<-proxy.Ended
			natstest.Eventually(t, "a message goes out again", func() bool {
				return live.Publish(t.Context(), conntest.Numbered(2, 10)) == nil
			})
			if got := conntest.Number(conntest.Next(t, sub)); got != "2" {
				t.Errorf("message %s of the time of the stall arrived after it", got)
			}
			if got := conn.States()[0].Reconnects; got == 0 {
				t.Error("the stalled connection was kept")
			}
			if got := conn.States()[0].Unconfirmed; got == 0 {
				t.Error("no message is said to be lost")
			}
		})
	}
}

// Small messages vanish in the buffers on the way, so that no write ever fails.
func TestPeerThatFallsBehind(t *testing.T) {
	const timeout = 2 * time.Second
	srv := natstest.Serve(t, embedded.Options{})
	proxy := natstest.NewStallProxy(t, srv.ClientURL())
	conn := conntest.Dial(t, dial.Options{URL: proxy.Addr().String(), WriteTimeout: timeout})
	live := deliver.NewLive(conn, publish.GapEvents)
	sub := conntest.Subscribe(t, srv.ClientURL(), subject)
	conntest.WaitConnected(t, conn, sub)
	conntest.Send(t, live, conntest.Numbered(0, 10))
	conntest.Next(t, sub)
	proxy.Stall()
	start := time.Now()
	var err error
	natstest.Eventually(t, "a message is dropped", func() bool {
		err = live.Publish(t.Context(), conntest.Numbered(1, 10))
		return err != nil
	})
	if took := time.Since(start); took >= timeout {
		t.Errorf("the first message was dropped only after %v", took)
	}
	if reason := conntest.DropReason(t, err); reason != publish.DropSlow {
		t.Errorf("reason %q", reason)
	}
	proxy.Resume()
	natstest.Eventually(t, "a message goes out again", func() bool {
		return live.Publish(t.Context(), conntest.Numbered(2, 10)) == nil
	})
	if got := conn.States()[0].Reconnects; got != 0 {
		t.Errorf("%d reconnects of a connection that came back in time", got)
	}
}

func TestPublishersWaitingBehindAStallAreBounded(t *testing.T) {
	const timeout = 200 * time.Millisecond
	srv := natstest.Serve(t, embedded.Options{})
	proxy := natstest.NewStallProxy(t, srv.ClientURL())
	conn := conntest.Dial(t, dial.Options{URL: proxy.Addr().String(), WriteTimeout: timeout})
	live := deliver.NewLive(conn, publish.GapEvents)
	conntest.WaitConnected(t, conn)
	proxy.Stall()
	var wg sync.WaitGroup
	start := time.Now()
	errs := make(chan error, 16)
	for n := range cap(errs) {
		wg.Go(func() { errs <- live.Publish(t.Context(), conntest.Numbered(n, 20_000_000)) })
	}
	wg.Wait()
	close(errs)
	reasons := map[string]int{}
	for err := range errs {
		reasons[conntest.DropReason(t, err)]++
	}
	// The first was in the middle of its write.
	if reasons[publish.DropSlow] == 0 {
		t.Errorf("no message was dropped as slow: %v", reasons)
	}
	if took := time.Since(start); took > 2*timeout+2*time.Second {
		t.Errorf("16 messages took %v to be dropped", took)
	}
	// Neither does the end wait for the peer.
	start = time.Now()
	_ = conn.Close(t.Context())
	if took := time.Since(start); took > 2*timeout+2*time.Second {
		t.Errorf("Close took %v", took)
	}
}

func TestConnectionThatConfirmsNothingIsGivenUp(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	proxy := natstest.NewStallProxy(t, srv.ClientURL())
	conn := conntest.Dial(t, dial.Options{URL: proxy.Addr().String(), WriteTimeout: 100 * time.Millisecond})
	live := deliver.NewLive(conn, publish.GapEvents)
	sub := conntest.Subscribe(t, srv.ClientURL(), subject)
	conntest.WaitConnected(t, conn, sub)
	conntest.Send(t, live, conntest.Numbered(0, 10))
	conntest.Next(t, sub)
	proxy.Stall()
	conntest.Send(t, live, conntest.Numbered(1, 10))
	natstest.Eventually(t, "the connection is given up", func() bool { return !conn.States()[0].Connected })
}
