package deliver_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

// kinds are those of the modes that store.
var kinds = map[string]deliver.Kind{"ring": deliver.Ring, "durable": deliver.Durable}

// TestTheServerTakesLess: a server comes back with a smaller max_payload while a
// message is being published. It is dropped, or split for the new limit, and the
// next ones go on.
func TestTheServerTakesLess(t *testing.T) {
	for name, kind := range kinds {
		for way, chunk := range map[string]bool{"reject": false, "chunk": true} {
			t.Run(name+" "+way, func(t *testing.T) {
				t.Parallel()
				serverTakesLess(t, kind, chunk)
			})
		}
	}
}

func serverTakesLess(t *testing.T, kind deliver.Kind, chunk bool) {
	opts := embedded.Options{StoreDir: t.TempDir(), MaxPayload: 1 << 20}
	srv := natstest.Serve(t, opts)
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL(), Chunk: chunk})
	o := options()
	down := make(chan struct{}, 1)
	o.OnRetry = func(string, error) {
		select {
		case down <- struct{}{}:
		default:
		}
	}
	pub := opened(t, conn, kind, o)
	srv.Shutdown()
	m := conntest.TensorMessage(subject, conntest.Slot(0), 300_000)
	m.Expires = time.Now().Add(time.Minute)
	m.Data[299_999] = 1
	ended := make(chan error, 1)
	go func() { ended <- pub.Publish(t.Context(), m) }()
	<-down
	opts.Listen, opts.MaxPayload = natstest.Address(srv), 64<<10
	srv = natstest.Serve(t, opts)
	err := <-ended
	var size *publish.SizeError
	switch {
	case chunk && err != nil:
		t.Fatal(err)
	case !chunk && (conntest.DropReason(t, err) != publish.DropTooLarge || !errors.As(err, &size) || size.Limit != 64<<10):
		t.Fatalf("the error is %v", err)
	}
	if err := pub.Publish(t.Context(), conntest.TensorMessage(subject, conntest.Slot(1), 1000)); err != nil {
		t.Fatal(err)
	}
	consumer, err := consume.Consume(t.Context(), dial.Options{URL: srv.ClientURL()}, consume.ConsumerOptions{Name: "model"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = consumer.Close(context.Background()) }()
	for d, err := range consumer.Deliveries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Ack(); err != nil {
			t.Error(err)
		}
		if len(d.Data) == 1000 {
			break
		}
		if !chunk || !bytes.Equal(d.Data, m.Data) {
			t.Errorf("the tensor of %v is another", d.Time)
		}
		chunk = false // it came
	}
	if chunk {
		t.Error("the large tensor did not come")
	}
}

// TestTheStreamTakesLess: somebody has edited the stream, or it has no room for even
// one message of that size.
func TestTheStreamTakesLess(t *testing.T) {
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"max_msg_size": func(c *jetstream.StreamConfig) { c.MaxMsgSize = 10_000 },
		"max_bytes":    func(*jetstream.StreamConfig) {},
	} {
		t.Run(name, func(t *testing.T) {
			_, conn, js := conntest.Store(t)
			o := options()
			o.Stream.MaxBytes = 50_000
			pub := durable(t, conn, o)
			stream, err := js.Stream(t.Context(), dial.DefaultStream)
			if err != nil {
				t.Fatal(err)
			}
			config := stream.CachedInfo().Config
			change(&config)
			if _, err := js.UpdateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err = pub.Publish(ctx, conntest.TensorMessage(subject, conntest.Slot(0), 60_000))
			if conntest.DropReason(t, err) != publish.DropTooLarge || !strings.Contains(err.Error(), "JetStream") {
				t.Errorf("the error is %v", err)
			}
			if err := pub.Publish(ctx, conntest.TensorMessage(subject, conntest.Slot(1), 1000)); err != nil {
				t.Error(err)
			}
		})
	}
}
