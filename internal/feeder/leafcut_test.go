package feeder_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const leafConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: "127.0.0.1:0"}
delivery: {mode: durable, stream: {max_bytes: 64MiB}}
streams:
  - {name: cam-1, interval: 200ms, outputs: [small]}
outputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
`

// TestLeafCutFromItsHub: a feeder is connected to a leaf node whose JetStream is the hub's.
// While the two are apart all connections are up, and nothing is stored: the feeder is not
// ready and says why for as long as that lasts, and goes on by itself.
func TestLeafCutFromItsHub(t *testing.T) {
	feedertest.Long(t, "waits until nothing was stored for ten seconds")
	t.Parallel()
	domain := map[string]string{server.DEFAULT_GLOBAL_ACCOUNT: ""}
	nodes := natstest.Leafs()
	nodes.NoAdvertise = true // otherwise the leaf finds a way around the link
	hub := natstest.Start(t, &server.Options{JetStream: true, StoreDir: t.TempDir(), LeafNode: nodes, JsAccDefaultDomain: domain})
	link := natstest.NewProxy(t, natstest.LeafAddress(t, hub))
	leaf := natstest.StartLeaf(t, link.Listen, &server.Options{
		ServerName: "leaf", JsAccDefaultDomain: domain, LeafNode: server.LeafNodeOpts{ReconnectInterval: 100 * time.Millisecond},
	})
	atHub, viaLeaf := jetStreamOf(t, hub), jetStreamOf(t, leaf)
	natstest.Within(t, func() error { _, err := viaLeaf.AccountInfo(t.Context()); return err })
	_, fakeURL := feedertest.ServeFake(t, kinesistest.Options{Scene: feedertest.Grey{}, Streams: kinesistest.Cameras(1)})
	o, log := options(t, leafConfig, fakeURL, leaf.ClientURL())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Started = func(ctx context.Context, run feeder.Running) {
		defer cancel()
		await := func(status int, text string) {
			if last := untilAnswer(ctx, run.HTTP+"/readyz", status, text); last != "" {
				t.Errorf("never %d %q: %s", status, text, last)
			}
		}
		await(http.StatusOK, "ready")
		before := stored(ctx, atHub)
		link.Stop()
		await(http.StatusServiceUnavailable, "not ready\nnot_stored: ")
		if err := link.Start(); err != nil {
			t.Error(err)
		}
		await(http.StatusOK, "ready")
		limit := time.After(time.Minute)
		for stored(ctx, atHub) < before+50 { // those of the ten seconds, too
			select {
			case <-limit:
				t.Errorf("%d tensors are stored, %d before", stored(ctx, atHub), before)
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	if err := feeder.New(o).Run(ctx); err != nil {
		t.Errorf("%v\n%s", err, log.String())
	}
	if n := strings.Count(log.String(), "reason=not_stored err="); n != 1 {
		t.Errorf("%d lines tell that it begins\n%s", n, log.String())
	}
}

// jetStreamOf returns JetStream as the clients of a server see it.
func jetStreamOf(t *testing.T, s *server.Server) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL())
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

// stored returns how many tensors the stream has got, 0 if it does not tell.
func stored(ctx context.Context, js jetstream.JetStream) uint64 {
	stream, err := js.Stream(ctx, "cvfeeder")
	if err != nil {
		return 0
	}
	return stream.CachedInfo().State.LastSeq
}
