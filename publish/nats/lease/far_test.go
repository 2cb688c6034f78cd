package lease_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

const (
	subject    = conntest.Subject
	tensorSize = 1 << 20
)

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

	conn, here := conntest.Dial(t, dial.Options{URL: one}), conntest.Subscribe(t, one, subject)
	live := deliver.NewLive(conn, publish.GapEvents)
	conntest.WaitConnected(t, conn, here)
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
		conntest.Send(t, live, conntest.Numbered(n, tensorSize))
		if got := conntest.Number(conntest.Next(t, here)); got != strconv.Itoa(n) {
			t.Fatalf("%s came, want %d", got, n)
		}
	}
	if n := crossed(); n > tensorSize {
		t.Errorf("%d bytes went to the hub, where nobody listens", n)
	}
	there := conntest.Subscribe(t, hub.ClientURL(), subject)
	conntest.WaitConnected(t, there)
	natstest.Within(t, func() error {
		conntest.Send(t, live, conntest.Numbered(6, tensorSize))
		if crossed() < tensorSize {
			return fmt.Errorf("nothing goes to the hub, where somebody listens")
		}
		return nil
	})
	if got := conntest.Number(conntest.Next(t, there)); got != "6" {
		t.Errorf("%s came to the hub", got)
	}
}

// startLeaf starts the leaf node of docs/scaling.md, of the hub at the address, and
// returns its URL.
func startLeaf(t *testing.T, hub string) string {
	t.Helper()
	doc, err := os.ReadFile("../../../docs/scaling.md")
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
