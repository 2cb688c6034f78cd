// Package monitoring makes the Grafana dashboards of cvfeeder, and tests them and the
// alerts of docker/prometheus.
//
// [Dashboards] returns the files below docker/grafana/dashboards; a test compares them.
// [Faster] makes the alerts quick enough for a test.
package monitoring
