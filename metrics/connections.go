package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// connections is a metric with one value for each connection to the broker, which is read
// at every scrape.
type connections struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	read  func() []Connection
	value func(Connection) float64
}

// addConnections adds the metrics of the connections. read may be nil, for none.
func (f *families) addConnections(read func() []Connection) {
	if read == nil {
		return
	}
	add := func(name, help string, value func(Connection) float64, kind prometheus.ValueType, typ dto.MetricType) {
		labels := []string{"connection"}
		f.add(&connections{prometheus.NewDesc(name, help, labels, nil), kind, read, value}, typ, name, help, labels)
	}
	add("cvfeeder_nats_connected",
		"1 if the connection to NATS is up, else 0. `data`, `data-2` … carry the tensors, those of a stream always the same one; `control` carries the rest.",
		func(c Connection) float64 { return oneIf(c.Connected) }, prometheus.GaugeValue, dto.MetricType_GAUGE)
	add("cvfeeder_nats_reconnects_total", "Reconnections to NATS.",
		func(c Connection) float64 { return float64(c.Reconnects) }, prometheus.CounterValue, dto.MetricType_COUNTER)
	add("cvfeeder_nats_unconfirmed_total", "Messages that were on the way when a connection to NATS broke, and may be lost in the mode `live`. The other modes publish them again.",
		func(c Connection) float64 { return float64(c.Unconfirmed) }, prometheus.CounterValue, dto.MetricType_COUNTER)
}

func oneIf(condition bool) float64 {
	if condition {
		return 1
	}
	return 0
}

// Describe implements prometheus.Collector.
func (c *connections) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c *connections) Collect(ch chan<- prometheus.Metric) {
	for _, conn := range c.read() {
		ch <- prometheus.MustNewConstMetric(c.desc, c.kind, c.value(conn), conn.Name)
	}
}
