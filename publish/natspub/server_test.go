package natspub_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/publish/natspub"
)

func TestBadServerOptions(t *testing.T) {
	taken := startServer(t, natspub.ServerOptions{})
	address := strings.TrimPrefix(taken.ClientURL(), "nats://")
	for _, tt := range []struct {
		o    natspub.ServerOptions
		want string
	}{
		{natspub.ServerOptions{Listen: "localhost"}, "missing port"},
		{natspub.ServerOptions{Listen: "localhost:http"}, `port "http"`},
		{natspub.ServerOptions{MaxPayload: 65 << 20}, "max_payload"},
		{natspub.ServerOptions{MaxPayload: -1}, "max_payload"},
		{natspub.ServerOptions{Listen: address}, "address already in use"},
	} {
		start := time.Now()
		_, err := natspub.StartServer(tt.o)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v does not tell %q", tt.o, err, tt.want)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%+v: the error took %v", tt.o, took)
		}
	}
}

func TestJetStreamNeedsADirectory(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		srv := startServer(t, natspub.ServerOptions{StoreDir: dir})
		nc, err := nats.Connect(srv.ClientURL())
		if err != nil {
			t.Fatal(err)
		}
		js, err := nc.JetStream()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.AccountInfo(); (err == nil) != (dir != "") {
			t.Errorf("directory %q: %v", dir, err)
		}
		nc.Close()
	}
}
