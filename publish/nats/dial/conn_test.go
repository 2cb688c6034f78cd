package dial_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

func TestMain(m *testing.M) { natstest.VerifyNoLeaks(m) }

const subject = conntest.Subject

func TestServerStartsAfterTheClient(t *testing.T) {
	address := natstest.FreeAddress(t)
	limits := make(chan int, 1)
	conn := conntest.Dial(t, dial.Options{URL: address, OnConnect: func(maxPayload int) { limits <- maxPayload }})
	live := deliver.NewLive(conn, publish.GapEvents)
	if reason := conntest.DropReason(t, live.Publish(t.Context(), conntest.Numbered(1, 10))); reason != publish.DropDisconnected {
		t.Errorf("without a server: reason %q", reason)
	}
	if reason := conntest.DropReason(t, live.Gap(t.Context(), publish.Gap{}, nil)); reason != publish.DropDisconnected {
		t.Errorf("gap without a server: reason %q", reason)
	}
	if err := conn.CheckSize(1); !errors.Is(err, dial.ErrNotConnected) {
		t.Errorf("CheckSize without a server: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := conn.WaitConnected(ctx); !errors.Is(err, dial.ErrNotConnected) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitConnected without a server: %v", err)
	}

	srv := natstest.Serve(t, embedded.Options{Listen: address, MaxPayload: 5000})
	sub := conntest.Subscribe(t, srv.ClientURL(), subject)
	conntest.WaitConnected(t, conn, sub)
	if limit := <-limits; limit != 5000 {
		t.Errorf("OnConnect was told %d", limit)
	}
	conntest.Send(t, live, conntest.Numbered(2, 10))
	if got := conntest.Number(conntest.Next(t, sub)); got != "2" {
		t.Errorf("message %s arrived first", got)
	}
}

func TestServerRestart(t *testing.T) {
	address := natstest.FreeAddress(t)
	srv := natstest.Serve(t, embedded.Options{Listen: address})
	limits := make(chan int, 2)
	conn := conntest.Dial(t, dial.Options{URL: address, OnConnect: func(maxPayload int) { limits <- maxPayload }})
	live := deliver.NewLive(conn, publish.GapEvents)
	sub := conntest.Subscribe(t, address, subject)
	conntest.WaitConnected(t, conn, sub)
	if limit := <-limits; limit != publish.MaxServerPayload {
		t.Errorf("limit %d", limit)
	}
	conntest.Send(t, live, conntest.Numbered(0, 1000))
	if got := conntest.Number(conntest.Next(t, sub)); got != "0" {
		t.Errorf("message %s", got)
	}

	srv.Shutdown()
	natstest.Eventually(t, "both connections are down", func() bool { return !conntest.Connected(conn) })
	for n := range 50 {
		if reason := conntest.DropReason(t, live.Publish(t.Context(), conntest.Numbered(1+n, 1000))); reason != publish.DropDisconnected {
			t.Fatalf("reason %q", reason)
		}
	}

	natstest.Serve(t, embedded.Options{Listen: address, MaxPayload: 2000})
	// Only what comes after the reconnect may arrive: give it somewhere to arrive.
	again := conntest.Subscribe(t, address, subject)
	conntest.WaitConnected(t, again, conn)
	if limit := <-limits; limit != 2000 {
		t.Errorf("after the restart: limit %d", limit)
	}
	conntest.Send(t, live, conntest.Numbered(100, 1000))
	if got := conntest.Number(conntest.Next(t, again)); got != "100" {
		t.Errorf("the first message after the reconnect is %s", got)
	}
	want := []dial.State{
		{Name: "data", Connected: true, Reconnects: 1},
		{Name: "control", Connected: true, Reconnects: 1},
	}
	if diff := cmp.Diff(want, conn.States(), cmpopts.IgnoreFields(dial.State{}, "Unconfirmed")); diff != "" {
		t.Error(diff)
	}
}

func TestCloseWithoutServer(t *testing.T) {
	conn := conntest.Dial(t, dial.Options{URL: natstest.FreeAddress(t)})
	if err := conn.Close(t.Context()); !errors.Is(err, dial.ErrNotConnected) {
		t.Errorf("got %v", err)
	}
}

func TestBadURL(t *testing.T) {
	for url, want := range map[string]string{
		"http://localhost:4222":         `scheme "http"`,
		"nats://":                       "no host",
		"nats://ok:4222,nats://:4222":   "no host",
		"nats://user:secret@h:notaport": "invalid port",
	} {
		_, err := dial.Dial(dial.Options{URL: url})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %v does not tell %q", url, err, want)
		}
	}
}

func TestRefusedCredentials(t *testing.T) {
	strict := natstest.Start(t, &server.Options{Username: "feeder", Password: "right"})
	address := strings.TrimPrefix(strict.ClientURL(), "nats://")
	var log natstest.Log
	conn := conntest.Dial(t, dial.Options{
		URL:    "nats://feeder:wrong@" + address,
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := conn.WaitConnected(ctx); !errors.Is(err, dial.ErrRefused) {
		t.Errorf("got %v", err)
	}
	_ = conn.Close(ctx) // and with it the log
	if text := log.String(); strings.Contains(text, "wrong") || !strings.Contains(text, "uthorization") {
		t.Errorf("log: %s", text)
	}
	conntest.WaitConnected(t, conntest.Dial(t, dial.Options{URL: "nats://feeder:right@" + address}))
}

func TestLogTellsAnOutageOnce(t *testing.T) {
	var log natstest.Log
	conn := conntest.Dial(t, dial.Options{
		URL: natstest.FreeAddress(t), ReconnectWait: time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_ = conn.WaitConnected(ctx)
	_ = conn.Close(ctx)
	for _, name := range []string{"data", "control"} {
		if n := strings.Count(log.String(), "connection="+name); n != 1 {
			t.Errorf("%d lines for the %s connection:\n%s", n, name, log.String())
		}
	}
}
