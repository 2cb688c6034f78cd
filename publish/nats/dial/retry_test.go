package dial_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

// TestTheStartWaits: a server that takes connections, but does not answer for
// JetStream yet, is waited for.
func TestTheStartWaits(t *testing.T) {
	stored := func(kind deliver.Kind) func(context.Context, *dial.Conn) error {
		o := deliver.StoredOptions{Stream: deliver.StreamOptions{Kind: kind, Subjects: []string{"cvf.t.*.*"}}}
		return func(ctx context.Context, c *dial.Conn) error { return deliver.NewStored(c, o).Open(ctx) }
	}
	for name, open := range map[string]func(context.Context, *dial.Conn) error{
		"ring":    stored(deliver.Ring),
		"durable": stored(deliver.Durable),
		"cursors": func(ctx context.Context, c *dial.Conn) error { return deliver.NewCursors(c, 1).Open(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := natstest.StartBroker(t)
			var log bytes.Buffer
			conn := conntest.Dial(t, dial.Options{
				URL: b.URL(), WriteTimeout: 200 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			conntest.WaitConnected(t, conn)
			b.Toxic(`{"type":"timeout","stream":"downstream","attributes":{"timeout":0}}`)
			ended := make(chan error, 1)
			go func() { ended <- open(t.Context(), conn) }()
			natstest.Eventually(t, "it waits", func() bool { return conn.Waiting() != "" })
			b.Heal()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			if why := conn.Waiting(); why != "" {
				t.Errorf("it still waits for %s", why)
			}
			if err := conn.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if n := strings.Count(log.String(), "retrying\" "); !strings.Contains(log.String(), "NATS has answered the request") || n > 3 {
				t.Errorf("the log has %d lines:\n%s", n, log.String())
			}
		})
	}
}

// TestTheStartIsGivenUp: with the end of ctx, and where waiting mends nothing.
func TestTheStartIsGivenUp(t *testing.T) {
	_, conn, _ := conntest.Store(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	calls := 0
	err := conn.Retry(ctx, "test", func(context.Context) error { calls++; return dial.ErrNotConnected })
	if !errors.Is(err, dial.ErrNotConnected) && !errors.Is(err, context.DeadlineExceeded) || calls < 2 {
		t.Errorf("%d calls, then %v", calls, err)
	}
	final := errors.New("wrong")
	calls = 0
	if err := conn.Retry(t.Context(), "test", func(context.Context) error { calls++; return final }); !errors.Is(err, final) || calls != 1 {
		t.Errorf("%d calls, then %v", calls, err)
	}
}
