// Package monitoring is what Grafana and Prometheus show of cvfeeder.
//
// [Dashboards] are the files below docker/grafana/dashboards, which its tests keep in
// step; [Faster] makes the alerts of docker/prometheus quick enough for a test.
package monitoring
