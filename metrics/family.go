package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// A Family describes a metric.
type Family struct {
	Name, Help string
	Type       dto.MetricType
	Labels     []string // their names
}

// families registers metrics and keeps their descriptions.
type families struct {
	registry *prometheus.Registry
	all      []Family
}

func (f *families) add(c prometheus.Collector, kind dto.MetricType, name, help string, labels []string) {
	f.registry.MustRegister(c)
	f.all = append(f.all, Family{Name: name, Help: help, Type: kind, Labels: labels})
}

func (f *families) counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	f.add(c, dto.MetricType_COUNTER, name, help, labels)
	return c
}

func (f *families) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	f.add(g, dto.MetricType_GAUGE, name, help, labels)
	return g
}

// histogram returns a histogram that is native and classic at once, so that old and new
// Prometheus servers can chart it.
func (f *families) histogram(name, help string, buckets []float64, label string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}, []string{label})
	f.add(h, dto.MetricType_HISTOGRAM, name, help, []string{label})
	return h
}

// counterFunc adds a counter without labels whose value is read at every scrape.
func (f *families) counterFunc(name, help string, value func() float64) {
	f.add(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value), dto.MetricType_COUNTER, name, help, nil)
}

// gaugeFunc adds a gauge without labels whose value is read at every scrape.
func (f *families) gaugeFunc(name, help string, value func() float64) {
	f.add(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value), dto.MetricType_GAUGE, name, help, nil)
}

// readGauges adds gauges with one label, all of whose values are read at every scrape.
func (f *families) readGauges(name, help, label string, values func() map[string]float64) {
	labels := []string{label}
	f.add(&gauges{prometheus.NewDesc(name, help, labels, nil), values}, dto.MetricType_GAUGE, name, help, labels)
}

// gauges is a metric with one value for each value of its label.
type gauges struct {
	desc *prometheus.Desc
	read func() map[string]float64
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) { ch <- g.desc }

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	for value, v := range g.read() {
		ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, v, value)
	}
}
