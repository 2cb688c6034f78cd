package deliver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source"
)

func TestMain(m *testing.M) { natstest.VerifyNoLeaks(m) }

const subject = conntest.Subject

func TestMessagesArriveAsSentAndInOrder(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	for name, o := range map[string]dial.Options{
		"socket":                {URL: srv.ClientURL()},
		"in process":            {Server: srv},
		"through the client":    {URL: srv.ClientURL(), NoDirectWrites: true},
		"in process through it": {Server: srv, NoDirectWrites: true},
	} {
		t.Run(name, func(t *testing.T) {
			conn := conntest.Dial(t, o)
			live := deliver.NewLive(conn, publish.GapEvents)
			sub := conntest.Subscribe(t, srv.ClientURL(), "cvf.>")
			conntest.WaitConnected(t, conn, sub)
			var sent []publish.Message
			for n := range 20 {
				m := conntest.Numbered(n, 300_000+n)
				m.Header["Cvf-Mean"] = []string{"0.485,0.456,0.406"}
				m.Data[n] = byte(n)
				sent = append(sent, m)
				conntest.Send(t, live, m)
			}
			for _, want := range sent {
				got := conntest.Next(t, sub)
				if !bytes.Equal(want.Data, got.Data) {
					t.Fatalf("message %s: the payload differs", conntest.Number(want))
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
	srv := natstest.Serve(t, embedded.Options{})
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL()})
	live := deliver.NewLive(conn, publish.GapEvents)
	sub := conntest.Subscribe(t, srv.ClientURL(), subject)
	conntest.WaitConnected(t, conn, sub)
	for _, size := range []int{10, 1 << 20} { // below and above the client's buffer
		m := conntest.Numbered(1, size)
		conntest.Send(t, live, m)
		for i := range m.Data {
			m.Data[i] = 0xff
		}
		if got := conntest.Next(t, sub); slices.Contains(got.Data, 0xff) {
			t.Errorf("%d bytes: what was written after Publish returned has arrived", size)
		}
	}
}

func TestGapEvent(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL()})
	live := deliver.NewLive(conn, publish.GapEvents)
	sub := conntest.Subscribe(t, srv.ClientURL(), "cvf.gap.>")
	conntest.WaitConnected(t, conn, sub)
	want := publish.Gap{Stream: "cam.1", From: 1000, To: 1400, Slots: 3, Reason: source.NoMedia.String()}
	if err := live.Gap(t.Context(), want, nil); err != nil {
		t.Fatal(err)
	}
	m := conntest.Next(t, sub)
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

func TestSizeLimit(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{MaxPayload: 100_000})
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL()})
	live := deliver.NewLive(conn, publish.GapEvents)
	sub := conntest.Subscribe(t, srv.ClientURL(), subject)
	conntest.WaitConnected(t, conn, sub)

	fits := conntest.Numbered(1, 0)
	fits.Data = make([]byte, 100_000-publish.Size(fits))
	if err := conn.CheckSize(publish.Size(fits)); err != nil {
		t.Error(err)
	}
	if err := live.Publish(t.Context(), fits); err != nil {
		t.Errorf("a message of exactly the limit: %v", err)
	}
	if got := conntest.Next(t, sub); len(got.Data) != len(fits.Data) {
		t.Errorf("%d bytes arrived", len(got.Data))
	}

	large := conntest.Numbered(2, len(fits.Data)+1)
	want := &publish.SizeError{Size: 100_001, Limit: 100_000}
	var got *publish.SizeError
	if err := conn.CheckSize(publish.Size(large)); !errors.As(err, &got) || *got != *want {
		t.Errorf("CheckSize: %v", err)
	}
	err := live.Publish(t.Context(), large)
	if reason := conntest.DropReason(t, err); reason != publish.DropTooLarge {
		t.Errorf("reason %q", reason)
	}
	if !errors.As(err, &got) || *got != *want {
		t.Errorf("Publish: %v", err)
	}
	// Refused by the client, so the connection stays.
	if err := live.Publish(t.Context(), conntest.Numbered(3, 1)); err != nil {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL()})
	live := deliver.NewLive(conn, publish.GapEvents)
	sub := conntest.Subscribe(t, srv.ClientURL(), subject)
	conntest.WaitConnected(t, conn, sub)
	for n := range 10 {
		conntest.Send(t, live, conntest.Numbered(n, 100))
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		if got := conntest.Number(conntest.Next(t, sub)); got != fmt.Sprint(n) {
			t.Errorf("message %s instead of %d", got, n)
		}
	}
	if reason := conntest.DropReason(t, live.Publish(t.Context(), conntest.Numbered(11, 1))); reason != publish.DropClosed {
		t.Errorf("after Close: reason %q", reason)
	}
	if reason := conntest.DropReason(t, live.Gap(t.Context(), publish.Gap{}, nil)); reason != publish.DropClosed {
		t.Errorf("gap after Close: reason %q", reason)
	}
	if conntest.Connected(conn) {
		t.Error("connected after Close")
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestPublishEndsWithItsContext(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL()})
	live := deliver.NewLive(conn, publish.GapEvents)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := live.Publish(ctx, conntest.Numbered(1, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestImpossibleSubjectIsNoDrop(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL()})
	live := deliver.NewLive(conn, publish.GapEvents)
	conntest.WaitConnected(t, conn)
	err := live.Publish(t.Context(), publish.Message{Subject: "two words"})
	var drop *publish.DropError
	if err == nil || errors.As(err, &drop) {
		t.Errorf("got %v", err)
	}
}
