package natspub_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/publish/natspub"
)

const tensorSize = 1 << 20

// TestLeafNodes: two hosts as docs/scaling.md has them, each with its leaf node, and the
// hub with JetStream. Their replicas find each other through it; tensors stay on the
// host, unless somebody at the hub asks for them.
func TestLeafNodes(t *testing.T) {
	hub := natstest.Start(t, &server.Options{
		JetStream: true, StoreDir: t.TempDir(), MaxPayload: 8 << 20, LeafNode: natstest.Leafs(),
		JsAccDefaultDomain: map[string]string{"$G": ""},
	})
	address := natstest.LeafAddress(t, hub)
	one, two := startLeaf(t, address), startLeaf(t, address)

	a, b := join(t, one, "a"), join(t, two, "b")
	meet(t, a, 2)
	meet(t, b, 2)
	acquire(t, a, claim("cam-1"))
	if h, err := b.Acquire(t.Context(), claim("cam-1")); err != nil || h.Held || h.Owner != "a" {
		t.Errorf("cam-1 is a's: %+v, %v", h, err)
	}

	conn, here := dial(t, natspub.Options{URL: one}), subscribe(t, one, subject)
	waitConnected(t, conn, here)
	crossed := func() int64 {
		leafs, err := hub.Leafz(nil)
		if err != nil {
			t.Fatal(err)
		}
		var n int64
		for _, l := range leafs.Leafs {
			n += l.InBytes
		}
		return n
	}
	for n := range 5 {
		send(t, conn, numbered(n, tensorSize))
		if got := number(next(t, here)); got != strconv.Itoa(n) {
			t.Fatalf("%s came, want %d", got, n)
		}
	}
	if n := crossed(); n > tensorSize {
		t.Errorf("%d bytes went to the hub, where nobody listens", n)
	}
	there := subscribe(t, hub.ClientURL(), subject)
	waitConnected(t, there)
	within(t, func() error {
		send(t, conn, numbered(6, tensorSize))
		if crossed() < tensorSize {
			return fmt.Errorf("nothing goes to the hub, where somebody listens")
		}
		return nil
	})
	if got := number(next(t, there)); got != "6" {
		t.Errorf("%s came to the hub", got)
	}
}

// startLeaf starts the leaf node of docs/scaling.md, of the hub at the address, and
// returns its URL.
func startLeaf(t *testing.T, hub string) string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/scaling.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```\n(# nats-server -c leaf.conf.*?)```").FindSubmatch(doc)
	if block == nil {
		t.Fatal("docs/scaling.md has no leaf.conf")
	}
	text := strings.NewReplacer("127.0.0.1:4222", "127.0.0.1:-1", "hub.example:7422", hub).Replace(string(block[1]))
	file := filepath.Join(t.TempDir(), "leaf.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, hub) || o.MaxPayload != 8_000_000 && o.MaxPayload != 8<<20 {
		t.Fatalf("the leaf.conf of the docs has changed:\n%s", text)
	}
	return natstest.Start(t, o).ClientURL()
}

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
	eventually(t, "the clusters are connected", func() bool {
		return east.NumOutboundGateways() == 1 && west.NumOutboundGateways() == 1
	})
	conn, here := dial(t, natspub.Options{URL: east.ClientURL()}), subscribe(t, east.ClientURL(), subject)
	waitConnected(t, conn, here)
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
		send(t, conn, numbered(n, tensorSize))
		next(t, here)
	}
	// The first one may go to see whether anybody is there.
	if n := crossed(); n >= 3*tensorSize {
		t.Errorf("%d bytes of 5 tensors went to the other cluster, where nobody listens", n)
	}
	there := subscribe(t, west.ClientURL(), subject)
	waitConnected(t, there)
	before := crossed()
	within(t, func() error {
		send(t, conn, numbered(6, tensorSize))
		if crossed()-before < tensorSize {
			return fmt.Errorf("nothing goes to the other cluster, where somebody listens")
		}
		return nil
	})
	if got := number(next(t, there)); got != "6" {
		t.Errorf("%s came to the other cluster", got)
	}
}
