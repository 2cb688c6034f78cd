// Command podmonitor reads a PodMonitor by the Prometheus operator's own types, and
// fails where it has fields that they do not. It is a module of its own so that nothing
// of Kubernetes is among cvfeeder's dependencies.
package main

import (
	"fmt"
	"io"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var pod monitoring.PodMonitor
	if err := yaml.UnmarshalStrict(text, &pod); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
