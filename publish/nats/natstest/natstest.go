// Package natstest starts NATS servers for tests, with any options of nats-server.
//
//	hub := natstest.Start(t, &server.Options{LeafNode: natstest.Leafs()})
//	leaf := natstest.StartLeaf(t, natstest.LeafAddress(t, hub), new(server.Options))
package natstest

import (
	"net"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const host = "127.0.0.1"

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
