package deliver_test

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

// TestMaxPayloadChanges: a server whose max_payload changes while it runs tells nobody. If it
// is lowered, the server ends the connection of who sends more, which the client takes to be
// for good. The connection is made again: what fits is delivered, and what does not is dropped
// as too large, until max_payload is raised. Whether anybody listens is known all the time.
func TestMaxPayloadChanges(t *testing.T) {
	opts := server.Options{JetStream: true, StoreDir: t.TempDir(), MaxPayload: 1 << 20}
	srv := natstest.Start(t, &opts)
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL(), WriteTimeout: time.Second})
	pubs := map[string]publish.Delivery{"live": deliver.NewLive(conn, publish.GapEvents), "ring": opened(t, conn, deliver.Ring, options())}
	sub := conntest.Subscribe(t, srv.ClientURL(), subject)
	conntest.WaitConnected(t, conn, sub)
	send := func(mode string, i, size int) error {
		m := conntest.TensorMessage(subject, conntest.Slot(i), size)
		m.Expires = time.Now().Add(2 * time.Second)
		return pubs[mode].Publish(t.Context(), m)
	}
	for mode := range pubs {
		if err := send(mode, 0, 100_000); err != nil {
			t.Fatalf("%s: %v", mode, err)
		}
	}
	port := srv.Addr().(*net.TCPAddr).Port
	reload := func(limit int32) {
		o := *opts.Clone()
		o.Port, o.MaxPayload = port, limit
		if err := srv.ReloadOptions(&o); err != nil {
			t.Fatal(err)
		}
	}
	reload(10_000)
	_ = send("live", 1, 100_000) // ends the connection
	natstest.Eventually(t, "the connection is made again", func() bool { return conn.MaxPayload() == 10_000 })
	fits := func(mode string, i, size int) {
		natstest.Within(t, func() error {
			if err := send(mode, i, size); err != nil {
				return fmt.Errorf("%s: %w", mode, err)
			}
			return nil
		})
	}
	for mode := range pubs {
		fits(mode, 2, 1000)
	}
	reload(1 << 20)
	var size *publish.SizeError
	if err := send("live", 3, 100_000); !errors.As(err, &size) || size.Limit != 10_000 {
		t.Errorf("a message that is too large: %v", err)
	}
	for mode := range pubs {
		fits(mode, 4, 100_000)
	}
	for i := range 8 { // over all connections
		m := conntest.TensorMessage(subject, conntest.Slot(4), 1000)
		m.Subject = fmt.Sprint("nobody.", i)
		natstest.Within(t, func() error {
			if err := pubs["live"].Publish(t.Context(), m); !errors.Is(err, publish.ErrUnwatched) && pubs["live"].Watched(m.Subject) {
				return fmt.Errorf("%s: it is not noticed that nobody listens: %w", m.Subject, err)
			}
			return nil
		})
	}
}
