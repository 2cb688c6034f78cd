package consume_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

func TestSubscriptionCountsWhatItMissed(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	conn := conntest.Dial(t, dial.Options{Server: srv})
	live := deliver.NewLive(conn, publish.GapEvents)
	sub := conntest.Subscribe(t, srv.ClientURL(), subject)
	conntest.WaitConnected(t, conn, sub)
	const sent, kept = 3000, 1024
	for n := range sent {
		conntest.Send(t, live, conntest.Numbered(n, 1))
	}
	if err := conn.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, "all that has no room is missed", func() bool { return sub.Missed() == sent-kept })
	for range kept {
		conntest.Next(t, sub)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if m, err := sub.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("message %v, error %v after the last one", m, err)
	}
	sub.Close()
	if _, err := sub.Next(t.Context()); !errors.Is(err, consume.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
