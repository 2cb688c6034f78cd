package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// reasons is a metric with one value for each reason why something is not well, which is
// read at every scrape.
type reasons struct {
	desc *prometheus.Desc
	read func() map[string]int
}

// addReasons adds that metric. read may be nil, for none.
func (f *families) addReasons(read func() map[string]int) {
	if read == nil {
		return
	}
	const name = "cvfeeder_not_ready"
	const help = "How many streams are not well for this reason, and 1 if the process is not. The reasons are those of `/readyz`, all of them always there."
	labels := []string{"reason"}
	f.add(&reasons{prometheus.NewDesc(name, help, labels, nil), read}, dto.MetricType_GAUGE, name, help, labels)
}

// Describe implements prometheus.Collector.
func (r *reasons) Describe(ch chan<- *prometheus.Desc) { ch <- r.desc }

// Collect implements prometheus.Collector.
func (r *reasons) Collect(ch chan<- prometheus.Metric) {
	for reason, n := range r.read() {
		ch <- prometheus.MustNewConstMetric(r.desc, prometheus.GaugeValue, float64(n), reason)
	}
}
