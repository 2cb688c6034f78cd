package dial_test

import (
	"fmt"
	"slices"
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

// of returns a stream's n-th message.
func of(stream, n, size int) publish.Message {
	m := conntest.Numbered(n, size)
	m.Header[publish.HeaderStream] = []string{fmt.Sprint("cam-", stream)}
	m.Subject = fmt.Sprintf("cvf.t.cam-%d.detector", stream)
	return m
}

// TestStreamsKeepTheirOrder over several connections.
func TestStreamsKeepTheirOrder(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL(), DataConnections: 4})
	live := deliver.NewLive(conn, publish.GapEvents)
	sub := conntest.Subscribe(t, srv.ClientURL(), "cvf.t.>")
	conntest.WaitConnected(t, conn, sub)
	var names []string
	for _, s := range conn.States() {
		names = append(names, s.Name)
	}
	if want := []string{"data", "data-2", "data-3", "data-4", "control"}; !slices.Equal(names, want) {
		t.Errorf("connections %q, want %q", names, want)
	}
	const streams, messages = 20, 20
	for n := range messages {
		for s := range streams {
			conntest.Send(t, live, of(s, n, 1000*(1+(s+n)%7)))
		}
	}
	seen := map[string]int{}
	for range streams * messages {
		m := conntest.Next(t, sub)
		if want := fmt.Sprint(seen[m.Subject]); conntest.Number(m) != want {
			t.Fatalf("%s: message %s came where %s is next", m.Subject, conntest.Number(m), want)
		}
		seen[m.Subject]++
	}
}

// TestAStalledConnectionStopsOnlyItsStreams: of several connections one stalls, and
// the streams on the others do not notice.
func TestAStalledConnectionStopsOnlyItsStreams(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	proxy := natstest.NewStallProxy(t, srv.ClientURL())
	proxy.Only = "data-2"
	conn := conntest.Dial(t, dial.Options{URL: proxy.Addr().String(), DataConnections: 3, WriteTimeout: time.Second})
	live := deliver.NewLive(conn, publish.GapEvents)
	sub := conntest.Subscribe(t, srv.ClientURL(), "cvf.t.>")
	conntest.WaitConnected(t, conn, sub)
	var mu sync.Mutex
	last := map[string]string{} // numbers by subject
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			m, err := sub.Next(t.Context())
			if err != nil {
				return // the end of the test
			}
			mu.Lock()
			last[m.Subject] = conntest.Number(m)
			mu.Unlock()
		}
	})
	defer reader.Wait()
	defer sub.Close()
	proxy.Stall()
	const streams = 20
	lost := map[int]bool{}
	for n := range 5 {
		for s := range streams {
			if lost[s] {
				continue
			}
			start := time.Now()
			err := live.Publish(t.Context(), of(s, n, 300_000))
			if err != nil {
				conntest.DropReason(t, err)
				lost[s] = true
			} else if took := time.Since(start); took > 900*time.Millisecond {
				t.Errorf("stream %d waited for %v", s, took)
			}
		}
	}
	if len(lost) == 0 || len(lost) == streams {
		t.Fatalf("%d of %d streams are on the stalled connection", len(lost), streams)
	}
	natstest.Eventually(t, "all others arrive", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for s := range streams {
			if n := last[fmt.Sprintf("cvf.t.cam-%d.detector", s)]; !lost[s] && n != "4" {
				return false
			}
		}
		return true
	})
	if err := live.Gap(t.Context(), publish.Gap{Stream: "cam-1", Slots: 1, Reason: "no_media"}, nil); err != nil {
		t.Errorf("control: %v", err)
	}
}
