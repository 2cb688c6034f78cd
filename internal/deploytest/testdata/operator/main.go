// Command operator reads a PodMonitor or a PrometheusRule by the Prometheus operator's own
// types, and fails where it has fields that they do not. It is a module of its own so that
// nothing of Kubernetes is among cvfeeder's dependencies.
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
	if err == nil {
		err = check(text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(text []byte) error {
	var object struct {
		Kind string `json:"kind"`
	}
	if err := yaml.Unmarshal(text, &object); err != nil {
		return err
	}
	kinds := map[string]any{"PodMonitor": &monitoring.PodMonitor{}, "PrometheusRule": &monitoring.PrometheusRule{}}
	kind := kinds[object.Kind]
	if kind == nil {
		return fmt.Errorf("the operator has no kind %q", object.Kind)
	}
	return yaml.UnmarshalStrict(text, kind)
}
