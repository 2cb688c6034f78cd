package natstest

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
)

// A Topology starts servers for the length of a test, and returns the URLs at which a publisher
// and a listener connect, which reach each other.
type Topology = func(t *testing.T) (publisher, listener string)

// Topologies are the ways in which servers may be connected, by name.
func Topologies() map[string]Topology {
	return map[string]Topology{"one server": single, "cluster": routed, "leaf node": leaf, "hub of a leaf node": hub, "gateway": gateway}
}

func single(t *testing.T) (publisher, listener string) {
	srv := Serve(t, embedded.Options{})
	return srv.ClientURL(), srv.ClientURL()
}

func routed(t *testing.T) (publisher, listener string) {
	a := Start(t, &server.Options{ServerName: "a", Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: -1}})
	b := Start(t, &server.Options{
		ServerName: "b", Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: -1},
		Routes: server.RoutesFromStr("nats://" + a.ClusterAddr().String()),
	})
	Eventually(t, "the cluster forms", func() bool { return a.NumRoutes() > 0 && b.NumRoutes() > 0 })
	return a.ClientURL(), b.ClientURL()
}

func leaf(t *testing.T) (publisher, listener string) {
	h := Start(t, &server.Options{ServerName: "hub", LeafNode: Leafs()})
	l := StartLeaf(t, LeafAddress(t, h), &server.Options{ServerName: "leaf"})
	Eventually(t, "the leaf connects", func() bool { return h.NumLeafNodes() == 1 && l.NumLeafNodes() == 1 })
	return l.ClientURL(), h.ClientURL()
}

func hub(t *testing.T) (publisher, listener string) {
	listener, publisher = leaf(t)
	return publisher, listener
}

func gateway(t *testing.T) (publisher, listener string) {
	a := Start(t, &server.Options{ServerName: "a", Gateway: server.GatewayOpts{Name: "A", Host: "127.0.0.1", Port: -1}})
	b := Start(t, &server.Options{ServerName: "b", Gateway: server.GatewayOpts{
		Name: "B", Host: "127.0.0.1", Port: -1,
		Gateways: []*server.RemoteGatewayOpts{{Name: "A", URLs: server.RoutesFromStr("nats://" + a.GatewayAddr().String())}},
	}})
	Eventually(t, "the gateways connect", func() bool { return a.NumOutboundGateways() == 1 && b.NumOutboundGateways() == 1 })
	return a.ClientURL(), b.ClientURL()
}
