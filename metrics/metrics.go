// Package metrics exports what a feeder does as Prometheus metrics.
//
// The metrics of a stream are read from its ledger at each scrape, so they cannot disagree
// with it, and the freshness of a stalled stream grows. Nothing is global.
//
//	m := metrics.New(metrics.Build{Version: "v1.2.3"})
//	m.Read(metrics.Sources{Streams: streams})
//	m.Latency.WithLabelValues("detector").Observe(1.5)
//	http.Handle("/metrics", m)
//
// The names, labels and meanings of the metrics are stable. The functions and types of
// this package serve cvfeeder itself and may change with any release.
package metrics

import (
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"github.com/cvfeeder/cvfeeder/internal/camerahealth"
	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
)

// Build holds the versions of the program.
type Build struct {
	// Version is the version of cvfeeder, and OpenCV that of the library.
	Version, OpenCV string
}

// A Stream is the state of one stream at one instant.
type Stream struct {
	Name string
	// Stats are those of the ledger.
	source.Stats
	// Lag and Overlap are as configured or learned.
	Lag, Overlap time.Duration
	// Trail is how far the clock of the slots is behind that of the service.
	Trail time.Duration
	// Resting says that it is not read, because nobody wants the frames.
	Resting bool
	// Limited says that what its images cost has limits of its own, and Used is the part of
	// them that is used.
	Limited bool
	Used    float64
	// Health judges its pictures; nil if they are not looked at. Slack is how much older than now
	// the newest picture may be.
	Health *camerahealth.Watch
	Slack  time.Duration
	// Begun is how many bursts of it have begun. Stats include their slots.
	Begun uint64
}

// Present returns the instant by the clock of the slots that is now by the service's.
func (s Stream) Present(now time.Time) time.Time { return now.Add(-s.Trail) }

// Freshness returns the age of the newest slot whose frame came, or the time since the start
// if none has come yet. It is 0 while the stream rests: nobody waits for a frame.
func (s Stream) Freshness(now time.Time) time.Duration {
	if s.Resting {
		return 0
	}
	newest := s.Newest
	if newest == 0 {
		newest = s.Start
	}
	return s.Present(now).Sub(newest.Time())
}

// Sight returns how well its camera sees, and false if its pictures are not looked at.
func (s *Stream) Sight(now time.Time) (camerahealth.State, bool) {
	if s.Health == nil {
		return camerahealth.State{}, false
	}
	return s.Health.State(s.Present(now).Add(-s.Slack)), true
}

// A Connection is the state of one connection to the broker.
type Connection struct {
	Name       string
	Connected  bool
	Reconnects uint64
	// Unconfirmed counts messages that were on the way when the connection broke.
	Unconfirmed uint64
}

// Cores are the cores that the process may use, and the shares of the work of the last ten
// seconds that could have been done and was not, from 0 to 1.
type Cores struct {
	// Limit is how many cores there are: a quota may be a fraction.
	Limit float64
	// Quota is the share of the periods of the CPU quota in which that was used up; Machine
	// that of the time in which threads waited for a core, and Process that in which
	// goroutines waited for a thread.
	Quota, Machine, Process float64
}

// Sources are the functions that are called at every scrape. Metrics whose source is nil
// are left out.
type Sources struct {
	// Streams returns the state of every stream of this process.
	Streams func() []Stream
	// Connections returns the state of every connection to the broker.
	Connections func() []Connection
	// InflightBytes returns the bytes of frames and tensors between fetching and
	// delivery.
	InflightBytes func() int64
	// Memory returns how tensors are handed over on the same host; nil where they are not.
	Memory func() Memory
	// MatsOpen returns the number of open OpenCV matrices.
	MatsOpen func() int
	// Cores returns how many cores the process may use, and what it lacks.
	Cores func() Cores
	// BusyRatio returns the share of the last ten seconds that the workers were busy.
	BusyRatio func() float64
	// Budget returns the part of the limits of all streams that is used, and false if there are
	// none.
	Budget func() (used float64, some bool)
	// Price is what a million images cost.
	Price float64
	// Now returns the present by the clock of the slots, and ClockOffset how far the host's
	// clock is ahead of that. Now is by default time.Now.
	Now         func() time.Time
	ClockOffset func() time.Duration
	// Remakes returns how often something that NATS stored was gone and was made again.
	Remakes func() uint64
	// Rollbacks returns how often NATS had lost the newest messages that it had
	// acknowledged.
	Rollbacks func() uint64
	// NotReady returns how many streams each reason keeps from being well, at least 1 for a
	// reason of the process.
	NotReady func() map[health.Code]int
	// Group returns the numbers of replicas and streams in the group.
	Group func() (members, streams int)
}

// Metrics are all metrics of a feeder. The stages update its fields; everything else is
// read from [Sources]. It is a prometheus.Gatherer, and the HTTP handler of scrapes.
type Metrics struct {
	// Latency is the seconds from a slot's instant to its delivery, by output.
	Latency *prometheus.HistogramVec
	// GateChanged is the share of the picture that differed from the last published one, 0
	// to 1, of each frame that a gate looked at, by output.
	GateChanged *prometheus.HistogramVec
	// Stage is the seconds that a stage took, by stage: fetch, gate, decode, transform,
	// publish.
	Stage *prometheus.HistogramVec
	// PublishBytes counts the delivered bytes, by output.
	PublishBytes *prometheus.CounterVec
	// PublishErrors counts the messages that were not delivered, or not at the first
	// attempt, by reason.
	PublishErrors *prometheus.CounterVec
	// Batches counts the batches across streams that were delivered, by output and rows: all or
	// some.
	Batches *prometheus.CounterVec
	// RowsLate counts the frames that came too late for their batch, by output.
	RowsLate *prometheus.CounterVec
	// Config is the state of the config file.
	Config *Config

	lookups  *lookups
	registry *prometheus.Registry // of all metrics but those of the streams
	families []Family             // the same
	streams  func() []Stream
	now      func() time.Time
	requests requests
}

// New returns the metrics on a registry of their own, with those of the Go runtime and
// the process. [Metrics.Read] adds those that are read from [Sources].
func New(build Build) *Metrics {
	f := &families{registry: prometheus.NewRegistry()}
	m := &Metrics{
		registry: f.registry,
		streams:  func() []Stream { return nil },
		now:      time.Now,
		Latency: f.histogram("cvfeeder_latency_seconds", "Time from a slot's instant to the delivery of its tensor.",
			[]float64{.5, 1, 2, 3, 4, 5, 7.5, 10, 15, 20, 30, 60, 300}, "output"),
		GateChanged: f.histogram("cvfeeder_gate_changed_ratio", "Share of the picture that differed from the last published one, of each frame that a gate compared: `gate.change` is held against it.",
			[]float64{.0001, .001, .002, .005, .01, .02, .03, .05, .1, .2, .5}, "output"),
		Stage: f.histogram("cvfeeder_stage_seconds", "Duration of a stage: `fetch` of one window; `gate`, `decode`, `transform` and `publish` of one frame.",
			[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, "stage"),
		PublishBytes: f.counter("cvfeeder_publish_bytes_total", "Bytes of delivered messages, headers included.", "output"),
		PublishErrors: f.counter("cvfeeder_publish_errors_total", "Messages that were not delivered, or not at the first attempt: "+
			"`disconnected`, `slow`, `full`, `refused`, `conflict` (another cvfeeder publishes the same cameras), `too_large`, `closed`, `foreign` (somebody else's message was on the subject and was ignored).", "reason"),
		Batches:  f.counter("cvfeeder_batches_total", "Batches of several streams that were delivered, by rows: `all`, or only `some`, because frames were missing when `batch.wait` was over.", "output", "rows"),
		RowsLate: f.counter("cvfeeder_batch_rows_late_total", "Frames that came when the batch of their slot had gone. Their slots end as `dropped`.", "output"),
		Config:   newConfig(f),
		lookups:  newLookups(f),
	}
	f.gauge("cvfeeder_build_info", "Always 1; the labels are the versions.", "version", "opencv", "go").
		WithLabelValues(build.Version, build.OpenCV, runtime.Version()).Set(1)
	f.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.families = f.all
	// These series exist from the start, so that a rate includes their first count.
	for _, stage := range []string{"fetch", "gate", "decode", "transform", "publish"} {
		m.Stage.WithLabelValues(stage)
	}
	for _, reason := range publish.DropReasons() {
		m.PublishErrors.WithLabelValues(reason)
	}
	return m
}

// Read adds the metrics that are read from src at each scrape. It is called once, before
// the first scrape.
func (m *Metrics) Read(src Sources) {
	f := &families{registry: m.registry}
	f.addSources(src)
	f.addConnections(src.Connections)
	m.families = append(m.families, f.all...)
	if src.Streams != nil {
		m.streams = src.Streams
	}
	if src.Now != nil {
		m.now = src.Now
	}
}

// addCost adds what images cost.
func (f *families) addCost(src Sources) {
	if src.Budget != nil {
		if _, some := src.Budget(); some {
			f.gaugeFunc("cvfeeder_budget_all_used_ratio", "Part of the limits of all streams together that is used, of that limit of which the most is: 1 if it is met. There is none without such limits.",
				func() float64 { used, _ := src.Budget(); return used })
		}
	}
	if src.Price > 0 {
		f.gaugeFunc("cvfeeder_price_per_million_images", "What a million images cost, in the currency of the config: `price.per_million_images`.", func() float64 { return src.Price })
	}
}

// addSources adds the gauges whose source is not nil.
func (f *families) addSources(src Sources) {
	if src.InflightBytes != nil {
		f.gaugeFunc("cvfeeder_inflight_bytes", "Bytes of frames and tensors between fetching and delivery.",
			func() float64 { return float64(src.InflightBytes()) })
	}
	if src.Memory != nil {
		f.memory(src.Memory)
	}
	if src.MatsOpen != nil {
		f.gaugeFunc("cvfeeder_mats_open", "Open OpenCV matrices.", func() float64 { return float64(src.MatsOpen()) })
	}
	if src.BusyRatio != nil {
		f.gaugeFunc("cvfeeder_workers_busy_ratio",
			"Share of the last ten seconds that the workers were busy. Near 1 there are too few cores, and frames will be late soon.", src.BusyRatio)
	}
	f.addCost(src)
	if src.Cores != nil {
		f.gaugeFunc("cvfeeder_cpu_limit_cores", "Cores that the process may use: those of the machine, or fewer by affinity or by the CPU quota of its cgroup.",
			func() float64 { return src.Cores().Limit })
		f.readGauges("cvfeeder_cpu_lacking_ratio", "Share of the last ten seconds in which work could have been done and was not, by what was in its way: `quota`, the share of the periods of the CPU quota in which it was used up; "+
			"`machine`, the share of their time that threads waited for a core; `process`, the share that goroutines waited for a thread.", "cause",
			func() map[string]float64 {
				c := src.Cores()
				return map[string]float64{"quota": c.Quota, "machine": c.Machine, "process": c.Process}
			})
	}
	if src.Remakes != nil {
		f.counterFunc("cvfeeder_nats_remade_total", "Streams, buckets and keys of buckets in NATS that were gone while they were in use, and that were made again.",
			func() float64 { return float64(src.Remakes()) })
	}
	if src.NotReady != nil {
		f.readGauges("cvfeeder_not_ready", "How many streams are not well for this reason, and 1 if the process is not. The reasons are those of `/readyz`, all of them always there.", "reason",
			func() map[string]float64 {
				all := map[string]float64{}
				for code, n := range src.NotReady() {
					all[string(code)] = float64(n)
				}
				return all
			})
	}
	if src.Rollbacks != nil {
		f.counterFunc("cvfeeder_nats_rolled_back_total", "How often a stream in NATS had lost the newest messages that it had acknowledged. Their slots are published again as far as there still is media.",
			func() float64 { return float64(src.Rollbacks()) })
	}
	if src.ClockOffset != nil {
		f.gaugeFunc("cvfeeder_clock_offset_seconds",
			"How far the host's clock is ahead of that of Kinesis Video Streams, in seconds; negative if it is behind, 0 before the first answer. Slots, freshness and latency go by that of the service.",
			func() float64 { return src.ClockOffset().Seconds() })
	}
	if src.Group != nil {
		f.gaugeFunc("cvfeeder_cluster_members", "Replicas in the group, as this one sees them.", func() float64 {
			members, _ := src.Group()
			return float64(members)
		})
		f.gaugeFunc("cvfeeder_cluster_streams", "Streams that the group shares and that have not ended, whichever replica runs them, by the config of this one.", func() float64 {
			_, streams := src.Group()
			return float64(streams)
		})
	}
}

// Families describes all metrics except those of the Go runtime and the process, in the
// order of their names.
func (m *Metrics) Families() []Family {
	all := slices.Clone(m.families)
	for _, f := range streamFamilies {
		all = append(all, f.Family)
	}
	slices.SortFunc(all, func(a, b Family) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Gather implements prometheus.Gatherer. [Metrics.ServeHTTP] needs less time and memory.
func (m *Metrics) Gather() ([]*dto.MetricFamily, error) {
	all, err := m.registry.Gather()
	for f := range m.streamMetrics() {
		all = append(all, proto.CloneOf(f))
	}
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return all, err
}

// Bill returns the images that a stream, or all for "", has asked for since the start, and those
// that came, by cause.
func (m *Metrics) Bill(stream string) (asked, came source.Bill) { return m.requests.bill(stream) }

// Requested counts a GetImages request for so many images of a stream. code is the
// service's answer.
func (m *Metrics) Requested(stream, code string, asked, came source.Bill) {
	m.requests.add(stream, code, asked, came)
}

// InTime is how soon after its instant a slot has to be delivered to be in time. Media is
// visible some seconds after the end of its fragment, which is usually 2 to 10 seconds long.
const InTime = 20 * time.Second

// SlotsInTime returns the count of the slots that a stream delivered in time. A stream for
// which it is not called is not expected to be in time.
func (m *Metrics) SlotsInTime(stream string) *atomic.Uint64 { return m.requests.inTime(stream) }

// Output creates the series of an output before its first tensor.
func (m *Metrics) Output(name string) {
	m.Latency.WithLabelValues(name)
	m.PublishBytes.WithLabelValues(name)
}

// BatchOutput makes the series of an output's batches.
func (m *Metrics) BatchOutput(name string) {
	for _, rows := range []string{allRows, someRows} {
		m.Batches.WithLabelValues(name, rows)
	}
	m.RowsLate.WithLabelValues(name)
}

// The rows of a batch that are there.
const allRows, someRows = "all", "some"

// Batch counts a delivered batch. Whole says that no row was missing.
func (m *Metrics) Batch(output string, whole bool) {
	rows := someRows
	if whole {
		rows = allRows
	}
	m.Batches.WithLabelValues(output, rows).Inc()
}

// Delivered observes the latency of a delivered tensor. The id of its trace becomes the
// exemplar, unless it is "".
func (m *Metrics) Delivered(output string, latency time.Duration, trace string) {
	observer := m.Latency.WithLabelValues(output)
	if with, ok := observer.(prometheus.ExemplarObserver); ok && trace != "" {
		with.ObserveWithExemplar(latency.Seconds(), prometheus.Labels{"trace_id": trace})
		return
	}
	observer.Observe(latency.Seconds())
}

// Forget drops the counts of a stream that is no longer read.
func (m *Metrics) Forget(stream string) { m.requests.forget(stream) }
