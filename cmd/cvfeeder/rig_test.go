package main

import (
	"testing"

	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// serveNATS starts a server with JetStream, for the length of a test.
func serveNATS(t *testing.T) *embedded.Server {
	t.Helper()
	server, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0", StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	return server
}

// serveFake serves a fake service, for the length of a test.
func serveFake(t *testing.T, fake *kinesistest.Server) *kinesistest.Endpoint {
	t.Helper()
	endpoint, err := fake.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = endpoint.Close() })
	return endpoint
}
