// Package metrics shows what a feeder does: Prometheus metrics and health, over
// HTTP.
//
// What is counted per stream is read from the streams' ledgers when Prometheus
// scrapes, so the metrics cannot disagree with them, and a stalled stream shows as
// growing freshness. Everything is on a registry of its own.
//
//	m := metrics.New(metrics.Build{Version: "v1.2.3"}, metrics.Sources{Streams: pipeline.Streams})
//	m.Latency.WithLabelValues("detector").Observe(1.5)
//	http.Handle("/", metrics.Handler(m, pipeline.NotReady, metrics.HTTP{}))
package metrics

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/cvfeeder/cvfeeder/source"
)

// Build tells which program this is.
type Build struct {
	// Version of cvfeeder, and of OpenCV.
	Version, OpenCV string
}

// A Stream is the state of one stream at one instant.
type Stream struct {
	Name string
	// Stats are the ledger's.
	source.Stats
	// Lag and Overlap are as configured or learned.
	Lag, Overlap time.Duration
}

// Freshness returns the age of the newest published slot, or the time since the
// start where nothing has been published.
func (s Stream) Freshness(now time.Time) time.Duration {
	newest := s.Newest
	if newest == 0 {
		newest = s.Start
	}
	return now.Sub(newest.Time())
}

// A Connection is the state of one connection to the broker.
type Connection struct {
	Name       string
	Connected  bool
	Reconnects uint64
}

// Sources are asked at every scrape. Those that are nil have nothing to tell.
type Sources struct {
	// Streams returns the state of every stream of this process.
	Streams func() []Stream
	// Connections returns those to the broker.
	Connections func() []Connection
	// InflightBytes returns the bytes of frames and tensors between fetching and
	// delivery.
	InflightBytes func() int64
	// MatsOpen returns the number of OpenCV Mats.
	MatsOpen func() int
	// BusyRatio returns the share of the workers' time that they have worked lately.
	BusyRatio func() float64
	// Group returns how many replicas share the streams, and how many streams.
	Group func() (members, streams int)
}

// Metrics are all metrics of a feeder. Its fields are observed by the stages;
// what is not among them is read from [Sources].
type Metrics struct {
	// Registry gathers them.
	Registry *prometheus.Registry

	// Latency in seconds from the slot's instant until it was delivered, by output.
	Latency *prometheus.HistogramVec
	// Stage is the seconds that a stage took, by stage: fetch, decode, transform,
	// publish.
	Stage *prometheus.HistogramVec
	// Requests counts GetImages requests, by stream and code, and Images what they
	// asked for, by stream.
	Requests, Images *prometheus.CounterVec
	// PublishBytes counts delivered bytes, by output, and PublishErrors the messages
	// that were not delivered, by reason.
	PublishBytes, PublishErrors *prometheus.CounterVec
	// Config tells of the config file.
	Config *Config
}

// New returns the metrics on a registry of their own, with those of the Go
// runtime and the process.
func New(build Build, src Sources) *Metrics {
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		Latency: histogram("cvfeeder_latency_seconds", "Time from a slot's instant until its tensor was delivered.",
			[]float64{.5, 1, 2, 3, 4, 5, 7.5, 10, 15, 20, 30, 60, 300}, "output"),
		Stage: histogram("cvfeeder_stage_seconds", "Time that a stage took: fetch of one window; decode, transform and publish of one frame.",
			[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, "stage"),
		Requests:      counter("cvfeeder_getimages_requests_total", "GetImages requests, retries included, by the service's answer.", "stream", "code"),
		Images:        counter("cvfeeder_images_requested_total", "Images asked for, retries included. AWS bills the images generated, which may be fewer.", "stream"),
		PublishBytes:  counter("cvfeeder_publish_bytes_total", "Bytes of delivered messages, headers included.", "output"),
		PublishErrors: counter("cvfeeder_publish_errors_total", "Messages that were not delivered.", "reason"),
		Config:        newConfig(),
	}
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "cvfeeder_build_info", Help: "Always 1; the labels tell the versions.",
	}, []string{"version", "opencv", "go"})
	info.WithLabelValues(build.Version, build.OpenCV, runtime.Version()).Set(1)
	m.Registry.MustRegister(
		m.Latency, m.Stage, m.Requests, m.Images, m.PublishBytes, m.PublishErrors, info,
		m.Config.successful, m.Config.time,
		&states{src},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Delivered observes the latency of a tensor. The id of its trace, unless "", becomes
// the exemplar.
func (m *Metrics) Delivered(output string, latency time.Duration, trace string) {
	observer := m.Latency.WithLabelValues(output)
	if with, ok := observer.(prometheus.ExemplarObserver); ok && trace != "" {
		with.ObserveWithExemplar(latency.Seconds(), prometheus.Labels{"trace_id": trace})
		return
	}
	observer.Observe(latency.Seconds())
}

// Forget drops the series of a stream that is not read any more.
func (m *Metrics) Forget(stream string) {
	for _, c := range []*prometheus.CounterVec{m.Requests, m.Images} {
		c.DeletePartialMatch(prometheus.Labels{"stream": stream})
	}
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// histogram returns a histogram that is native and classic at once, so that both
// old and new Prometheus servers can chart it.
func histogram(name, help string, buckets []float64, label string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}, []string{label})
}
