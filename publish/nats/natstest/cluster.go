package natstest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// A Cluster is three servers with JetStream that know each other.
type Cluster struct {
	t       testing.TB
	servers []*server.Server
}

// StartCluster starts one for the length of the test.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	var routes []string
	for range 3 {
		routes = append(routes, FreeAddress(t))
	}
	for i, route := range routes {
		opts := &server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), Routes: server.RoutesFromStr("nats://" + strings.Join(routes, ",nats://")),
		}
		host, port, _ := strings.Cut(route, ":")
		opts.Cluster.Name, opts.Cluster.Host = "test", host
		if _, err := fmt.Sscan(port, &opts.Cluster.Port); err != nil {
			t.Fatal(err)
		}
		srv, err := server.NewServer(opts)
		if err != nil {
			t.Fatal(err)
		}
		srv.Start()
		t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
		c.servers = append(c.servers, srv)
	}
	for _, srv := range c.servers {
		if !srv.ReadyForConnections(10 * time.Second) {
			t.Fatal("the cluster does not start")
		}
	}
	return c
}

// URLs returns those of the servers that run.
func (c *Cluster) URLs() string {
	var urls []string
	for _, s := range c.servers {
		if s.Running() {
			urls = append(urls, s.ClientURL())
		}
	}
	return strings.Join(urls, ",")
}

// StopLeader stops the server that leads a stream.
func (c *Cluster) StopLeader(stream string) {
	for _, s := range c.servers {
		if s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
			s.Shutdown()
			return
		}
	}
	c.t.Error("no server leads the stream")
}
