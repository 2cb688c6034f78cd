package natspub_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish/natspub"
)

// TestTheStartWaits: a server that takes connections, but does not answer for
// JetStream yet, is waited for.
func TestTheStartWaits(t *testing.T) {
	for name, open := range map[string]func(context.Context, *natspub.Conn) error{
		"ring":    func(ctx context.Context, c *natspub.Conn) error { _, err := c.Ring(ctx, options()); return err },
		"durable": func(ctx context.Context, c *natspub.Conn) error { _, err := c.Durable(ctx, options()); return err },
		"cursors": func(ctx context.Context, c *natspub.Conn) error { _, err := c.Cursors(ctx, 1); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBroker(t)
			var log bytes.Buffer
			conn := dial(t, natspub.Options{
				URL: "nats://" + b.proxy.Listen, WriteTimeout: 200 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			waitConnected(t, conn)
			b.toxic(`{"type":"timeout","stream":"downstream","attributes":{"timeout":0}}`)
			ended := make(chan error, 1)
			go func() { ended <- open(t.Context(), conn) }()
			eventually(t, "it waits", func() bool { return conn.Waiting() != "" })
			b.heal()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			if why := conn.Waiting(); why != "" {
				t.Errorf("it still waits for %s", why)
			}
			if err := conn.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if n := strings.Count(log.String(), "trying on\" "); !strings.Contains(log.String(), "what was waited for") || n > 3 {
				t.Errorf("the log has %d lines:\n%s", n, log.String())
			}
		})
	}
}

// TestTheStartIsGivenUp: with the end of ctx, and where waiting mends nothing.
func TestTheStartIsGivenUp(t *testing.T) {
	_, conn, _ := store(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	calls := 0
	err := conn.Retry(ctx, "test", func(context.Context) error { calls++; return natspub.ErrNotConnected })
	if !errors.Is(err, natspub.ErrNotConnected) && !errors.Is(err, context.DeadlineExceeded) || calls < 2 {
		t.Errorf("%d calls, then %v", calls, err)
	}
	final := errors.New("wrong")
	calls = 0
	if err := conn.Retry(t.Context(), "test", func(context.Context) error { calls++; return final }); !errors.Is(err, final) || calls != 1 {
		t.Errorf("%d calls, then %v", calls, err)
	}
}
