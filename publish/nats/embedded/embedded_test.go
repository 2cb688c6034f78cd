package embedded_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

func TestMain(m *testing.M) { natstest.VerifyNoLeaks(m) }

func TestBadServerOptions(t *testing.T) {
	taken := natstest.Serve(t, embedded.Options{})
	address := strings.TrimPrefix(taken.ClientURL(), "nats://")
	for _, tt := range []struct {
		o    embedded.Options
		want string
	}{
		{embedded.Options{Listen: "localhost"}, "missing port"},
		{embedded.Options{Listen: "localhost:http"}, `port "http"`},
		{embedded.Options{MaxPayload: 65 << 20}, "max_payload"},
		{embedded.Options{MaxPayload: -1}, "max_payload"},
		{embedded.Options{Listen: address}, "address already in use"},
	} {
		start := time.Now()
		_, err := embedded.Start(tt.o)
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
		srv := natstest.Serve(t, embedded.Options{StoreDir: dir})
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
