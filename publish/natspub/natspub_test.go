package natspub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/publish/natspub"
	"github.com/cvfeeder/cvfeeder/source"
)

func TestMain(m *testing.M) {
	zerolog.SetGlobalLevel(zerolog.Disabled) // of toxiproxy
	// A link of toxiproxy that was cut keeps its goroutines.
	const toxi = "github.com/Shopify/toxiproxy/v2"
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction(toxi+"/toxics.(*ToxicStub).Run"),
		goleak.IgnoreAnyFunction(toxi+".(*ToxicLink).read"), goleak.IgnoreAnyFunction(toxi+".(*ToxicLink).write"))
}

const subject = "cvf.t.cam-1.detector"

func startServer(t *testing.T, o natspub.ServerOptions) *natspub.Server {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	srv, err := natspub.StartServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	return srv
}

func dial(t *testing.T, o natspub.Options) *natspub.Conn {
	t.Helper()
	if o.ReconnectWait == 0 {
		o.ReconnectWait = 20 * time.Millisecond
	}
	conn, err := natspub.Dial(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // a second Close, or one without a server
	})
	return conn
}

func subscribe(t *testing.T, url string, subjects ...string) *natspub.Subscription {
	t.Helper()
	sub, err := natspub.Subscribe(natspub.Options{URL: url, ReconnectWait: 20 * time.Millisecond}, subjects...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Close)
	return sub
}

type waiter interface {
	WaitConnected(context.Context) error
}

func waitConnected(t *testing.T, on ...waiter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, w := range on {
		if err := w.WaitConnected(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// connected tells whether any of the connections is made.
func connected(conn *natspub.Conn) bool {
	return slices.ContainsFunc(conn.States(), func(s natspub.State) bool { return s.Connected })
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 10s: %s", what)
		}
	}
}

func send(t *testing.T, conn *natspub.Conn, m publish.Message) {
	t.Helper()
	if err := conn.Live().Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func next(t *testing.T, sub *natspub.Subscription) publish.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	m, err := sub.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// numbered returns a message of size bytes that tells its number.
func numbered(n, size int) publish.Message {
	return publish.Message{
		Subject: subject,
		Header:  map[string][]string{publish.HeaderTime: {fmt.Sprint(n)}},
		Data:    make([]byte, size),
	}
}

func number(m publish.Message) string { return m.Header[publish.HeaderTime][0] }

// dropReason returns why err says that a message was dropped.
func dropReason(t *testing.T, err error) string {
	t.Helper()
	var drop *publish.DropError
	if !errors.As(err, &drop) {
		t.Fatalf("error %v is not a DropError", err)
	}
	return drop.Reason
}

// freeAddress returns a loopback address that nothing listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func TestMessagesArriveAsSentAndInOrder(t *testing.T) {
	srv := startServer(t, natspub.ServerOptions{})
	for name, o := range map[string]natspub.Options{
		"socket":     {URL: srv.ClientURL()},
		"in process": {Server: srv},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, o)
			sub := subscribe(t, srv.ClientURL(), "cvf.>")
			waitConnected(t, conn, sub)
			var sent []publish.Message
			for n := range 20 {
				m := numbered(n, 300_000+n)
				m.Header["Cvf-Mean"] = []string{"0.485,0.456,0.406"}
				m.Data[n] = byte(n)
				sent = append(sent, m)
				send(t, conn, m)
			}
			for _, want := range sent {
				got := next(t, sub)
				if !bytes.Equal(want.Data, got.Data) {
					t.Fatalf("message %s: the payload differs", number(want))
				}
				want.Data, got.Data = nil, nil
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("message differs (-sent +received):\n%s", diff)
				}
			}
		})
	}
}

func TestPublishDoesNotKeepThePayload(t *testing.T) {
	srv := startServer(t, natspub.ServerOptions{})
	conn := dial(t, natspub.Options{URL: srv.ClientURL()})
	sub := subscribe(t, srv.ClientURL(), subject)
	waitConnected(t, conn, sub)
	for _, size := range []int{10, 1 << 20} { // below and above the client's buffer
		m := numbered(1, size)
		send(t, conn, m)
		for i := range m.Data {
			m.Data[i] = 0xff
		}
		if got := next(t, sub); slices.Contains(got.Data, 0xff) {
			t.Errorf("%d bytes: what was written after Publish returned has arrived", size)
		}
	}
}

func TestGapEvent(t *testing.T) {
	srv := startServer(t, natspub.ServerOptions{})
	conn := dial(t, natspub.Options{URL: srv.ClientURL()})
	sub := subscribe(t, srv.ClientURL(), "cvf.gap.>")
	waitConnected(t, conn, sub)
	want := publish.Gap{Stream: "cam.1", From: 1000, To: 1400, Slots: 3, Reason: source.NoMedia.String()}
	if err := conn.Live().PublishGap(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	m := next(t, sub)
	if m.Subject != "cvf.gap.cam_1" {
		t.Errorf("subject %q", m.Subject)
	}
	got, err := publish.ParseGap(m.Data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestServerStartsAfterTheClient(t *testing.T) {
	address := freeAddress(t)
	limits := make(chan int, 1)
	conn := dial(t, natspub.Options{URL: address, OnConnect: func(maxPayload int) { limits <- maxPayload }})
	if reason := dropReason(t, conn.Live().Publish(t.Context(), numbered(1, 10))); reason != publish.DropDisconnected {
		t.Errorf("without a server: reason %q", reason)
	}
	if reason := dropReason(t, conn.Live().PublishGap(t.Context(), publish.Gap{})); reason != publish.DropDisconnected {
		t.Errorf("gap without a server: reason %q", reason)
	}
	if err := conn.CheckSize(1); !errors.Is(err, natspub.ErrNotConnected) {
		t.Errorf("CheckSize without a server: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := conn.WaitConnected(ctx); !errors.Is(err, natspub.ErrNotConnected) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitConnected without a server: %v", err)
	}

	srv := startServer(t, natspub.ServerOptions{Listen: address, MaxPayload: 5000})
	sub := subscribe(t, srv.ClientURL(), subject)
	waitConnected(t, conn, sub)
	if limit := <-limits; limit != 5000 {
		t.Errorf("OnConnect was told %d", limit)
	}
	send(t, conn, numbered(2, 10))
	if got := number(next(t, sub)); got != "2" {
		t.Errorf("message %s arrived first", got)
	}
}

func TestServerRestart(t *testing.T) {
	address := freeAddress(t)
	srv := startServer(t, natspub.ServerOptions{Listen: address})
	limits := make(chan int, 2)
	conn := dial(t, natspub.Options{URL: address, OnConnect: func(maxPayload int) { limits <- maxPayload }})
	sub := subscribe(t, address, subject)
	waitConnected(t, conn, sub)
	if limit := <-limits; limit != publish.MaxServerPayload {
		t.Errorf("limit %d", limit)
	}
	send(t, conn, numbered(0, 1000))
	if got := number(next(t, sub)); got != "0" {
		t.Errorf("message %s", got)
	}

	srv.Shutdown()
	eventually(t, "both connections are down", func() bool { return !connected(conn) })
	for n := range 50 {
		if reason := dropReason(t, conn.Live().Publish(t.Context(), numbered(1+n, 1000))); reason != publish.DropDisconnected {
			t.Fatalf("reason %q", reason)
		}
	}

	startServer(t, natspub.ServerOptions{Listen: address, MaxPayload: 2000})
	// Only what comes after the reconnect may arrive: give it somewhere to arrive.
	again := subscribe(t, address, subject)
	waitConnected(t, again, conn)
	if limit := <-limits; limit != 2000 {
		t.Errorf("after the restart: limit %d", limit)
	}
	send(t, conn, numbered(100, 1000))
	if got := number(next(t, again)); got != "100" {
		t.Errorf("the first message after the reconnect is %s", got)
	}
	want := []natspub.State{
		{Name: "data", Connected: true, Reconnects: 1},
		{Name: "control", Connected: true, Reconnects: 1},
	}
	if diff := cmp.Diff(want, conn.States()); diff != "" {
		t.Error(diff)
	}
}

func TestSizeLimit(t *testing.T) {
	srv := startServer(t, natspub.ServerOptions{MaxPayload: 100_000})
	conn := dial(t, natspub.Options{URL: srv.ClientURL()})
	sub := subscribe(t, srv.ClientURL(), subject)
	waitConnected(t, conn, sub)

	fits := numbered(1, 0)
	fits.Data = make([]byte, 100_000-publish.Size(fits))
	if err := conn.CheckSize(publish.Size(fits)); err != nil {
		t.Error(err)
	}
	if err := conn.Live().Publish(t.Context(), fits); err != nil {
		t.Errorf("a message of exactly the limit: %v", err)
	}
	if got := next(t, sub); len(got.Data) != len(fits.Data) {
		t.Errorf("%d bytes arrived", len(got.Data))
	}

	large := numbered(2, len(fits.Data)+1)
	want := &publish.SizeError{Size: 100_001, Limit: 100_000}
	var got *publish.SizeError
	if err := conn.CheckSize(publish.Size(large)); !errors.As(err, &got) || *got != *want {
		t.Errorf("CheckSize: %v", err)
	}
	err := conn.Live().Publish(t.Context(), large)
	if reason := dropReason(t, err); reason != publish.DropTooLarge {
		t.Errorf("reason %q", reason)
	}
	if !errors.As(err, &got) || *got != *want {
		t.Errorf("Publish: %v", err)
	}
	// Refused by the client, so the connection stays.
	if err := conn.Live().Publish(t.Context(), numbered(3, 1)); err != nil {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	srv := startServer(t, natspub.ServerOptions{})
	conn := dial(t, natspub.Options{URL: srv.ClientURL()})
	sub := subscribe(t, srv.ClientURL(), subject)
	waitConnected(t, conn, sub)
	for n := range 10 {
		send(t, conn, numbered(n, 100))
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		if got := number(next(t, sub)); got != fmt.Sprint(n) {
			t.Errorf("message %s instead of %d", got, n)
		}
	}
	if reason := dropReason(t, conn.Live().Publish(t.Context(), numbered(11, 1))); reason != publish.DropClosed {
		t.Errorf("after Close: reason %q", reason)
	}
	if reason := dropReason(t, conn.Live().PublishGap(t.Context(), publish.Gap{})); reason != publish.DropClosed {
		t.Errorf("gap after Close: reason %q", reason)
	}
	if connected(conn) {
		t.Error("connected after Close")
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestCloseWithoutServer(t *testing.T) {
	conn := dial(t, natspub.Options{URL: freeAddress(t)})
	if err := conn.Close(t.Context()); !errors.Is(err, natspub.ErrNotConnected) {
		t.Errorf("got %v", err)
	}
}

func TestPublishEndsWithItsContext(t *testing.T) {
	srv := startServer(t, natspub.ServerOptions{})
	conn := dial(t, natspub.Options{URL: srv.ClientURL()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := conn.Live().Publish(ctx, numbered(1, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestImpossibleSubjectIsNoDrop(t *testing.T) {
	srv := startServer(t, natspub.ServerOptions{})
	conn := dial(t, natspub.Options{URL: srv.ClientURL()})
	waitConnected(t, conn)
	err := conn.Live().Publish(t.Context(), publish.Message{Subject: "two words"})
	var drop *publish.DropError
	if err == nil || errors.As(err, &drop) {
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
		_, err := natspub.Dial(natspub.Options{URL: url})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %v does not tell %q", url, err, want)
		}
	}
}

func TestRefusedCredentials(t *testing.T) {
	strict := natstest.Start(t, &server.Options{Username: "feeder", Password: "right"})
	address := strings.TrimPrefix(strict.ClientURL(), "nats://")
	var log logs
	conn := dial(t, natspub.Options{
		URL:    "nats://feeder:wrong@" + address,
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := conn.WaitConnected(ctx); !errors.Is(err, natspub.ErrRefused) {
		t.Errorf("got %v", err)
	}
	_ = conn.Close(ctx) // and with it the log
	if text := log.String(); strings.Contains(text, "wrong") || !strings.Contains(text, "uthorization") {
		t.Errorf("log: %s", text)
	}
	waitConnected(t, dial(t, natspub.Options{URL: "nats://feeder:right@" + address}))
}

// logs are those of a connection at work.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestLogTellsAnOutageOnce(t *testing.T) {
	var log logs
	conn := dial(t, natspub.Options{
		URL: freeAddress(t), ReconnectWait: time.Millisecond,
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
