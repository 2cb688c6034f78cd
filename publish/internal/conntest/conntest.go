// Package conntest has what the tests of the packages for NATS share: connections,
// messages, and how to wait for them.
package conntest

import (
	"context"
	"errors"
	"fmt"
	"image"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// Subject is the one that most tests publish on.
const Subject = "cvf.t.cam-1.detector"

const reconnectWait = 20 * time.Millisecond

// Dial returns a connection that lasts as long as the test, and reconnects soon.
func Dial(t testing.TB, o dial.Options) *dial.Conn {
	t.Helper()
	if o.ReconnectWait == 0 {
		o.ReconnectWait = reconnectWait
	}
	conn, err := dial.Dial(o)
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

// Subscribe returns a subscription that lasts as long as the test.
func Subscribe(t testing.TB, url string, subjects ...string) *consume.Subscription {
	t.Helper()
	sub, err := consume.Subscribe(dial.Options{URL: url, ReconnectWait: reconnectWait}, subjects...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Close)
	return sub
}

// A Waiter is a connection or a subscription.
type Waiter interface {
	WaitConnected(context.Context) error
}

// WaitConnected waits for each of them.
func WaitConnected(t testing.TB, on ...Waiter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, w := range on {
		if err := w.WaitConnected(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// Connected tells whether any of the connections is made.
func Connected(conn *dial.Conn) bool {
	return slices.ContainsFunc(conn.States(), func(s dial.State) bool { return s.Connected })
}

// Store starts a server with JetStream for the length of the test, and returns its
// URL, a connection to it, and JetStream over another one.
func Store(t testing.TB) (url string, conn *dial.Conn, js jetstream.JetStream) {
	t.Helper()
	srv := natstest.Serve(t, embedded.Options{StoreDir: t.TempDir()})
	conn = Dial(t, dial.Options{URL: srv.ClientURL(), WriteTimeout: time.Second})
	return srv.ClientURL(), conn, JetStream(t, srv.ClientURL())
}

// JetStream returns that of a server, over a connection of its own that lasts as long
// as the test.
func JetStream(t testing.TB, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// Send publishes a message, which must succeed.
func Send(t testing.TB, d publish.Delivery, m publish.Message) {
	t.Helper()
	if err := d.Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

// Next returns the next message that arrives.
func Next(t testing.TB, sub *consume.Subscription) publish.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	m, err := sub.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Numbered returns a message of size bytes that tells its number.
func Numbered(n, size int) publish.Message {
	return publish.Message{
		Subject: Subject,
		Header:  map[string][]string{publish.HeaderTime: {fmt.Sprint(n)}},
		Data:    make([]byte, size),
	}
}

// Number returns the number of a message.
func Number(m publish.Message) string { return m.Header[publish.HeaderTime][0] }

// DropReason returns why err says that a message was dropped.
func DropReason(t testing.TB, err error) string {
	t.Helper()
	var drop *publish.DropError
	if !errors.As(err, &drop) {
		t.Fatalf("error %v is not a DropError", err)
	}
	return drop.Reason
}

// Slot returns the i-th slot of these tests.
func Slot(i int) source.Slot {
	first := source.SlotAt(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	return first.Add(time.Duration(i) * source.MinInterval)
}

// TensorMessage returns a whole message of a tensor with the given size, a multiple
// of 100.
func TensorMessage(subject string, slot source.Slot, size int) publish.Message {
	spec, err := transform.Preset("raw")
	if err != nil {
		panic(err)
	}
	spec.DType, spec.Color = transform.Uint8, transform.Gray
	parts := strings.Split(subject, ".")
	return publish.NewMessage(subject, &transform.Tensor{
		Stream: parts[2], Slot: slot, Capture: slot.Time(), Shape: []int{1, size / 100, 100, 1}, Source: image.Pt(100, size/100),
		Affines: []transform.Affine{{1, 0, 0, 0, 1, 0}},
		Output:  &transform.Output{Name: parts[3], Spec: spec, Fingerprint: "test"}, Data: make([]byte, size),
	})
}
