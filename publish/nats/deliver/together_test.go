package deliver_test

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sync/errgroup"

	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

// TestOpenTogether: replicas that start at the same time make one stream, also on a server
// that has no room for two of its size. One that is alone with too little room fails.
func TestOpenTogether(t *testing.T) {
	const size = 64 << 20
	srv := natstest.Start(t, &server.Options{JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: size + size/2})
	o := options()
	o.Stream.Kind, o.Stream.MaxBytes = deliver.Durable, size
	var replicas []*deliver.Stored
	for range 3 {
		replicas = append(replicas, deliver.NewStored(conntest.Dial(t, dial.Options{URL: srv.ClientURL()}), o))
	}
	js := conntest.JetStream(t, srv.ClientURL())
	for range 5 {
		var together errgroup.Group
		for _, r := range replicas {
			together.Go(func() error { return r.Open(t.Context()) })
		}
		if err := together.Wait(); err != nil {
			t.Fatal(err)
		}
		if err := js.DeleteStream(t.Context(), dial.DefaultStream); err != nil {
			t.Fatal(err)
		}
	}
	// Another server: this one may have counted the room of a stream back twice that several
	// had asked for at once.
	alone := natstest.Start(t, &server.Options{JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: size + size/2})
	o.Stream.MaxBytes = 2 * size
	if err := deliver.NewStored(conntest.Dial(t, dial.Options{URL: alone.ClientURL()}), o).Open(t.Context()); err == nil {
		t.Error("a stream was made that the server has no room for")
	}
}
