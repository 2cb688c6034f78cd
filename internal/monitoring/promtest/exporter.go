package promtest

import (
	"net"
	"os/exec"
	"testing"
)

// ExporterFlags are those with which prometheus-nats-exporter tells what the alerts and the
// dashboards read.
func ExporterFlags() []string {
	return []string{"-varz", "-healthz", "-jsz=all", "-use_internal_server_name"}
}

// StartExporter runs prometheus-nats-exporter on an address, for the server that is monitored
// at a URL, until the test ends. It tells whether the program is installed: no registry that
// the tests may use has it.
func StartExporter(t *testing.T, monitor, address string) bool {
	t.Helper()
	program, err := exec.LookPath("prometheus-nats-exporter")
	if err != nil {
		return false
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, append(ExporterFlags(), "-addr", host, "-port", port, monitor)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	return true
}
