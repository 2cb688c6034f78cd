package deliver_test

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

const tensorSize = 1 << 20

// TestSupercluster: between clusters that gateways connect, tensors cross for those who
// ask for them only.
func TestSupercluster(t *testing.T) {
	gateway := func(name string, remotes ...*server.RemoteGatewayOpts) *server.Server {
		return natstest.Start(t, &server.Options{
			ServerName: name, MaxPayload: 8 << 20,
			Gateway: server.GatewayOpts{Name: name, Host: "127.0.0.1", Port: -1, Gateways: remotes},
		})
	}
	east := gateway("east")
	at, err := url.Parse("nats://" + east.GatewayAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	west := gateway("west", &server.RemoteGatewayOpts{Name: "east", URLs: []*url.URL{at}})
	natstest.Eventually(t, "the clusters are connected", func() bool {
		return east.NumOutboundGateways() == 1 && west.NumOutboundGateways() == 1
	})
	conn, here := conntest.Dial(t, dial.Options{URL: east.ClientURL()}), conntest.Subscribe(t, east.ClientURL(), subject)
	live := deliver.NewLive(conn, publish.GapEvents)
	conntest.WaitConnected(t, conn, here)
	crossed := func() int64 {
		z, err := west.Gatewayz(&server.GatewayzOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var n int64
		for _, in := range z.InboundGateways["east"] {
			n += in.Connection.InBytes
		}
		return n
	}
	for n := range 5 {
		conntest.Send(t, live, conntest.Numbered(n, tensorSize))
		conntest.Next(t, here)
	}
	// The first one may go to see whether anybody is there.
	if n := crossed(); n >= 3*tensorSize {
		t.Errorf("%d bytes of 5 tensors went to the other cluster, where nobody listens", n)
	}
	there := conntest.Subscribe(t, west.ClientURL(), subject)
	conntest.WaitConnected(t, there)
	before := crossed()
	natstest.Within(t, func() error {
		conntest.Send(t, live, conntest.Numbered(6, tensorSize))
		if crossed()-before < tensorSize {
			return fmt.Errorf("nothing goes to the other cluster, where somebody listens")
		}
		return nil
	})
	if got := conntest.Number(conntest.Next(t, there)); got != "6" {
		t.Errorf("%s came to the other cluster", got)
	}
}
