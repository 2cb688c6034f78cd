package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cvfeeder/cvfeeder/source"
)

// states collects what is read at the scrape.
type states struct{ Sources }

var (
	descSlots = desc("slots_total", "Slots that ended, by outcome.", "stream", "outcome")
	descExp   = desc("slots_expected_total", "Slots between the start and now. It equals the sum of slots_total and slots_pending.", "stream")
	descPend  = desc("slots_pending", "Slots that have not ended yet.", "stream")
	descGaps  = desc("gaps_total", "Runs of slots without a delivered tensor, by the reason.", "stream", "reason")
	descGapS  = desc("gap_seconds_total", "How long the gaps were.", "stream", "reason")
	descFresh = desc("freshness_seconds", "Age of the newest published slot at the scrape; time since the start where there is none.", "stream")
	descLag   = desc("lag_seconds", "How far behind now the stream is asked for, as configured or learned.", "stream")
	descOver  = desc("overlap_seconds", "How far before the first wanted slot the last window began, as configured or learned.", "stream")
	descOwned = desc("stream_owned", "1 where this replica has the stream.", "stream")
	descBytes = desc("inflight_bytes", "Bytes of frames and tensors between fetching and delivery.")
	descMats  = desc("mats_open", "OpenCV Mats that are open.")
	descBusy  = desc("workers_busy_ratio", "Share of the workers' time that they worked in the last ten seconds. Near 1 there are too few cores.")
	descMemb  = desc("cluster_members", "Replicas that share the streams, as this one sees them.")
	descWant  = desc("cluster_streams", "Streams that the replicas share, whoever has them.")
	descConn  = desc("nats_connected", "1 where the connection to NATS is up.", "connection")
	descReco  = desc("nats_reconnects_total", "Reconnections to NATS.", "connection")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("cvfeeder_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (s *states) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descSlots, descExp, descPend, descGaps, descGapS, descFresh, descLag, descOver, descOwned,
		descBytes, descMats, descBusy, descMemb, descWant, descConn, descReco,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *states) Collect(ch chan<- prometheus.Metric) {
	emit := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	if s.Streams != nil {
		now := time.Now()
		for _, st := range s.Streams() {
			st.collect(now, emit)
		}
	}
	if s.InflightBytes != nil {
		emit(descBytes, prometheus.GaugeValue, float64(s.InflightBytes()))
	}
	if s.MatsOpen != nil {
		emit(descMats, prometheus.GaugeValue, float64(s.MatsOpen()))
	}
	if s.BusyRatio != nil {
		emit(descBusy, prometheus.GaugeValue, s.BusyRatio())
	}
	if s.Group != nil {
		members, streams := s.Group()
		emit(descMemb, prometheus.GaugeValue, float64(members))
		emit(descWant, prometheus.GaugeValue, float64(streams))
	}
	if s.Connections != nil {
		for _, c := range s.Connections() {
			up := 0.0
			if c.Connected {
				up = 1
			}
			emit(descConn, prometheus.GaugeValue, up, c.Name)
			emit(descReco, prometheus.CounterValue, float64(c.Reconnects), c.Name)
		}
	}
}

func (s Stream) collect(now time.Time, emit func(*prometheus.Desc, prometheus.ValueType, float64, ...string)) {
	for _, o := range source.Outcomes() {
		emit(descSlots, prometheus.CounterValue, float64(s.Ended[o]), s.Name, o.String())
		if o != source.Published {
			emit(descGaps, prometheus.CounterValue, float64(s.Gaps[o]), s.Name, o.String())
			emit(descGapS, prometheus.CounterValue, s.GapTime[o].Seconds(), s.Name, o.String())
		}
	}
	emit(descExp, prometheus.CounterValue, float64(s.Expected), s.Name)
	emit(descPend, prometheus.GaugeValue, float64(s.Pending), s.Name)
	emit(descFresh, prometheus.GaugeValue, s.Freshness(now).Seconds(), s.Name)
	emit(descLag, prometheus.GaugeValue, s.Lag.Seconds(), s.Name)
	emit(descOver, prometheus.GaugeValue, s.Overlap.Seconds(), s.Name)
	emit(descOwned, prometheus.GaugeValue, 1, s.Name)
}
