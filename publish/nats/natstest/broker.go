package natstest

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
)

// A Broker is a NATS server with JetStream that can be stopped and started, behind
// a proxy that can do what networks do.
type Broker struct {
	// Server is the one that runs now. Another takes its place in Restart.
	Server *embedded.Server
	// Proxy stands before it.
	Proxy *toxiproxy.Proxy

	t     *testing.T
	opts  embedded.Options
	saved string
}

// StartBroker starts one for the length of the test.
func StartBroker(t *testing.T) *Broker {
	t.Helper()
	b := &Broker{t: t, opts: embedded.Options{StoreDir: t.TempDir()}}
	b.Server = Serve(t, b.opts)
	b.opts.Listen = Address(b.Server)
	b.Proxy = NewProxy(t, b.opts.Listen)
	return b
}

// NewProxy starts a proxy before an address, for the length of the test.
func NewProxy(t *testing.T, address string) *toxiproxy.Proxy {
	t.Helper()
	p := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "nats", "127.0.0.1:0", address)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// URL returns that of the proxy.
func (b *Broker) URL() string { return "nats://" + b.Proxy.Listen }

// Toxic adds a fault, described as toxiproxy does, until Heal.
func (b *Broker) Toxic(json string) {
	if _, err := b.Proxy.Toxics.AddToxicJson(strings.NewReader(json)); err != nil {
		b.t.Error(err)
	}
}

// Heal takes all faults away.
func (b *Broker) Heal() { b.Proxy.Toxics.ResetToxics(b.t.Context()) }

// Restart stops the server and starts another one with the same address and store.
func (b *Broker) Restart() {
	b.Server.Shutdown()
	b.Server = Serve(b.t, b.opts)
}

// Wipe is Restart with an empty store.
func (b *Broker) Wipe() {
	b.Server.Shutdown()
	if err := os.RemoveAll(b.opts.StoreDir); err != nil {
		b.t.Fatal(err)
	}
	b.Server = Serve(b.t, b.opts)
}

// Save copies the store as it is now, for Rollback.
func (b *Broker) Save() {
	b.saved = b.t.TempDir()
	// Files that the server puts in place of others meanwhile may be gone.
	err := os.CopyFS(b.saved, os.DirFS(b.opts.StoreDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.t.Error(err)
	}
}

// Rollback is Restart with the store as it was at the last Save: it is a machine that lost
// its power before it had written everything to disk.
func (b *Broker) Rollback() {
	b.Server.Shutdown()
	if err := os.RemoveAll(b.opts.StoreDir); err != nil {
		b.t.Error(err)
	}
	if err := os.CopyFS(b.opts.StoreDir, os.DirFS(b.saved)); err != nil {
		b.t.Error(err)
	}
	b.Server = Serve(b.t, b.opts)
}
