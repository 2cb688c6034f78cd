// Package metrics shows what a feeder does, as Prometheus metrics.
//
// What is counted per stream is read from the streams' ledgers when Prometheus
// scrapes, so the metrics cannot disagree with them, and a stalled stream shows as
// growing freshness. Nothing is global.
//
//	m := metrics.New(metrics.Build{Version: "v1.2.3"}, metrics.Sources{Streams: pipeline.Streams})
//	m.Latency.WithLabelValues("detector").Observe(1.5)
//	http.Handle("/metrics", m)
package metrics

import (
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"github.com/cvfeeder/cvfeeder/publish"
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
// what is not among them is read from [Sources]. It is a prometheus.Gatherer, and the
// handler of scrapes.
type Metrics struct {
	// Latency in seconds from the slot's instant until it was delivered, by output.
	Latency *prometheus.HistogramVec
	// Stage is the seconds that a stage took, by stage: fetch, decode, transform,
	// publish.
	Stage *prometheus.HistogramVec
	// PublishBytes counts delivered bytes, by output, and PublishErrors the messages
	// that were not delivered, by reason.
	PublishBytes, PublishErrors *prometheus.CounterVec
	// Config tells of the config file.
	Config *Config

	registry *prometheus.Registry // of all but what the streams have
	families []Family
	streams  func() []Stream
	requests requests
}

// New returns the metrics on a registry of their own, with those of the Go
// runtime and the process.
func New(build Build, src Sources) *Metrics {
	f := &families{registry: prometheus.NewRegistry()}
	m := &Metrics{
		registry: f.registry,
		streams:  src.Streams,
		Latency: f.histogram("cvfeeder_latency_seconds", "Time from a slot's instant until its tensor was delivered.",
			[]float64{.5, 1, 2, 3, 4, 5, 7.5, 10, 15, 20, 30, 60, 300}, "output"),
		Stage: f.histogram("cvfeeder_stage_seconds", "Time that a stage took: `fetch` of one window; `decode`, `transform` and `publish` of one frame.",
			[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, "stage"),
		PublishBytes: f.counter("cvfeeder_publish_bytes_total", "Bytes of delivered messages, headers included.", "output"),
		PublishErrors: f.counter("cvfeeder_publish_errors_total", "Messages that were not delivered, or not at the first attempt: "+
			"`disconnected`, `slow`, `full`, `refused`, `conflict` (another cvfeeder has the same cameras), `too_large`, `closed`.", "reason"),
		Config: newConfig(f),
	}
	f.gauge("cvfeeder_build_info", "Always 1; the labels tell the versions.", "version", "opencv", "go").
		WithLabelValues(build.Version, build.OpenCV, runtime.Version()).Set(1)
	f.addSources(src)
	f.addConnections(src.Connections)
	f.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.families = f.all
	// Series from the start, so that a rate sees the first count.
	for _, stage := range []string{"fetch", "decode", "transform", "publish"} {
		m.Stage.WithLabelValues(stage)
	}
	for _, reason := range publish.DropReasons() {
		m.PublishErrors.WithLabelValues(reason)
	}
	return m
}

// addSources adds what is read at the scrape, of those sources that there are.
func (f *families) addSources(src Sources) {
	if src.InflightBytes != nil {
		f.read("cvfeeder_inflight_bytes", "Bytes of frames and tensors between fetching and delivery.",
			func() float64 { return float64(src.InflightBytes()) })
	}
	if src.MatsOpen != nil {
		f.read("cvfeeder_mats_open", "OpenCV matrices that are open.", func() float64 { return float64(src.MatsOpen()) })
	}
	if src.BusyRatio != nil {
		f.read("cvfeeder_workers_busy_ratio",
			"Share of the workers' time that they worked in the last ten seconds. Near 1 there are too few cores, before frames are late.", src.BusyRatio)
	}
	if src.Group != nil {
		f.read("cvfeeder_cluster_members", "Replicas of the group that share the streams, as this one sees them.", func() float64 {
			members, _ := src.Group()
			return float64(members)
		})
		f.read("cvfeeder_cluster_streams", "Streams that the replicas share, whoever has them.", func() float64 {
			_, streams := src.Group()
			return float64(streams)
		})
	}
}

// Families describes all metrics but those of the Go runtime and the process, by name.
func (m *Metrics) Families() []Family {
	all := slices.Clone(m.families)
	for _, f := range streamFamilies {
		all = append(all, f.Family)
	}
	slices.SortFunc(all, func(a, b Family) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Gather implements prometheus.Gatherer. A scrape by [Metrics.ServeHTTP] costs less.
func (m *Metrics) Gather() ([]*dto.MetricFamily, error) {
	all, err := m.registry.Gather()
	for f := range m.streamMetrics() {
		all = append(all, proto.CloneOf(f))
	}
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return all, err
}

// Requested counts a GetImages request of a stream, by the service's answer, and the
// images that it asked for.
func (m *Metrics) Requested(stream, code string, images int) { m.requests.add(stream, code, images) }

// Output makes the series of an output, before its first tensor.
func (m *Metrics) Output(name string) {
	m.Latency.WithLabelValues(name)
	m.PublishBytes.WithLabelValues(name)
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

// Forget drops what was counted for a stream that is not read any more.
func (m *Metrics) Forget(stream string) { m.requests.forget(stream) }
