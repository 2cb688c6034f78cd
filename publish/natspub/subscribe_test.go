package natspub_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish/natspub"
)

func TestSubscriptionCountsWhatItMissed(t *testing.T) {
	srv := startServer(t, natspub.ServerOptions{})
	conn := dial(t, natspub.Options{Server: srv})
	sub := subscribe(t, srv.ClientURL(), subject)
	waitConnected(t, conn, sub)
	const sent = 3000
	for n := range sent {
		send(t, conn, numbered(n, 1))
	}
	if err := conn.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitConnected(t, sub) // all that was sent has been received, or missed
	missed := sub.Missed()
	if missed == 0 {
		t.Fatal("nothing was missed")
	}
	for range sent - missed {
		next(t, sub)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if m, err := sub.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("message %v, error %v after the last one", m, err)
	}
	sub.Close()
	if _, err := sub.Next(t.Context()); !errors.Is(err, natspub.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
