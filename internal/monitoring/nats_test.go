package monitoring_test

import (
	"bytes"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/internal/monitoring"
	"github.com/cvfeeder/cvfeeder/internal/monitoring/promtest"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

// TestNATSAlerts: the alerts of a NATS server fire in a real Prometheus that scrapes a real
// exporter, ten times as fast: its storage and its memory fill up, a consumer reads nothing,
// and it is shut down.
func TestNATSAlerts(t *testing.T) {
	exporter, monitor := natstest.FreeAddress(t), natstest.FreeAddress(t)
	if !promtest.StartExporter(t, "http://"+monitor, exporter) {
		t.Skip("prometheus-nats-exporter is not installed")
	}
	rules, err := monitoring.Faster(read(t, filepath.Join(prometheusDir, "nats.yml")), 10)
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(monitor)
	if err != nil {
		t.Fatal(err)
	}
	o := &server.Options{
		ServerName: "n1", JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 20 << 20, JetStreamMaxMemory: 20 << 20,
		HTTPHost: host, MaxPending: 1 << 20,
	}
	if o.HTTPPort, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	srv := natstest.Start(t, o)
	p := promtest.Start(t, promtest.Options{NATS: exporter, Rules: rules})
	firing := func(alert string) bool {
		return len(p.Query(t, `ALERTS{alertname="`+alert+`",alertstate="firing",job="nats",instance="`+exporter+`"}`)) == 1
	}
	promtest.Until(t, time.Minute, "the exporter tells of the server", func() bool {
		return len(p.Query(t, `gnatsd_varz_slow_consumers{server_id="n1"} == 0`)) == 1 && len(p.Query(t, "ALERTS")) == 0
	})
	conn, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	fill(t, conn, jetstream.FileStorage, "files")
	fill(t, conn, jetstream.MemoryStorage, "memory")
	readNothing(t, srv.Addr().String(), conn)
	for _, alert := range []string{"CvfeederNatsSlowConsumers", "CvfeederNatsStorageNearlyFull", "CvfeederNatsMemoryNearlyFull"} {
		promtest.Until(t, 2*time.Minute, alert, func() bool { return firing(alert) })
	}
	if firing("CvfeederNatsUnwell") {
		t.Error("the server is known, and an alert says that it is not")
	}
	conn.Close()
	srv.Shutdown()
	promtest.Until(t, 2*time.Minute, "CvfeederNatsUnwell", func() bool { return firing("CvfeederNatsUnwell") })
}

// fill makes a stream with nine tenths of what its storage may hold.
func fill(t *testing.T, conn *nats.Conn, storage jetstream.StorageType, subject string) {
	t.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: subject, Subjects: []string{subject}, Storage: storage}); err != nil {
		t.Fatal(err)
	}
	for range 36 {
		if _, err := js.Publish(t.Context(), subject, make([]byte, 500<<10)); err != nil {
			t.Fatal(err)
		}
	}
}

// readNothing subscribes, and lets the server send until it gives up.
func readNothing(t *testing.T, address string, conn *nats.Conn) {
	t.Helper()
	slow, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slow.Close() })
	if _, err := io.WriteString(slow, "CONNECT {\"verbose\":false}\r\nSUB much 1\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	// The server has subscribed once it answers the ping.
	answer := make([]byte, 0, 4096)
	for buffer := make([]byte, 512); !bytes.Contains(answer, []byte("PONG")); {
		n, err := slow.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		answer = append(answer, buffer[:n]...)
	}
	for range 64 {
		if err := conn.Publish("much", make([]byte, 500<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}
