// Package natstest starts NATS servers for tests, with any options of nats-server.
//
//	hub := natstest.Start(t, &server.Options{LeafNode: natstest.Leafs()})
//	leaf := natstest.StartLeaf(t, natstest.LeafAddress(t, hub), new(server.Options))
package natstest

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
)

const host = "127.0.0.1"

// VerifyNoLeaks runs the tests of a package, which fail when they leave goroutines
// behind.
func VerifyNoLeaks(m *testing.M) {
	zerolog.SetGlobalLevel(zerolog.Disabled) // of toxiproxy
	// A link of toxiproxy that was cut keeps its goroutines.
	const toxi = "github.com/Shopify/toxiproxy/v2"
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction(toxi+"/toxics.(*ToxicStub).Run"),
		goleak.IgnoreAnyFunction(toxi+".(*ToxicLink).read"), goleak.IgnoreAnyFunction(toxi+".(*ToxicLink).write"))
}

// Serve starts a server as cvfeeder embeds it, for the length of the test; on any
// free port of loopback unless o says where.
func Serve(t testing.TB, o embedded.Options) *embedded.Server {
	t.Helper()
	if o.Listen == "" {
		o.Listen = host + ":0"
	}
	srv, err := embedded.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	return srv
}

// Address returns the host:port on which a server listens.
func Address(s *embedded.Server) string { return strings.TrimPrefix(s.ClientURL(), "nats://") }

// FreeAddress returns a loopback address that nothing listens on.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// Start starts a server on loopback, on any free port unless o has one, for the length
// of the test.
func Start(t testing.TB, o *server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoSigs, o.NoLog = host, true, true
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	srv, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(5 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return srv
}

// Leafs are the options of a hub: it takes leaf nodes on any free port of loopback.
func Leafs() server.LeafNodeOpts {
	return server.LeafNodeOpts{Host: host, Port: server.RANDOM_PORT}
}

// LeafAddress returns the host:port on which a hub takes leaf nodes.
func LeafAddress(t testing.TB, hub *server.Server) string {
	t.Helper()
	state, err := hub.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(host, strconv.Itoa(state.LeafNode.Port))
}

// StartLeaf starts a leaf node of the hub at the address.
func StartLeaf(t testing.TB, address string, o *server.Options) *server.Server {
	t.Helper()
	hub := &url.URL{Scheme: "nats-leaf", Host: address}
	o.LeafNode.Remotes = []*server.RemoteLeafOpts{{URLs: []*url.URL{hub}}}
	return Start(t, o)
}

// StartWebSocket starts a server that browsers can reach, with JetStream, and returns the URLs
// for clients and for browsers.
func StartWebSocket(t testing.TB) (client, browser string) {
	t.Helper()
	srv := Start(t, &server.Options{
		JetStream: true, StoreDir: t.TempDir(),
		Websocket: server.WebsocketOpts{Host: host, Port: server.RANDOM_PORT, NoTLS: true},
	})
	return srv.ClientURL(), srv.WebsocketURL()
}
