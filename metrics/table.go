package metrics

import (
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"github.com/cvfeeder/cvfeeder/source"
)

// A table builds the metrics of all streams one after the other, in the same memory. The
// registry of client_golang would allocate, hash and sort every series: for 10,000 streams
// that takes three times as long, and ten times as much memory.
type table struct {
	streams []*dto.LabelPair // the label of each stream
	cells   [][]cell         // in chunks, which stay where they are
	used    int              // cells of the current family
	metrics []*dto.Metric
}

// A cell holds one series.
type cell struct {
	metric  dto.Metric
	counter dto.Counter
	gauge   dto.Gauge
	value   float64
	labels  [2]*dto.LabelPair
}

const chunk = 1024 // cells

func newTable(streams []Stream) *table {
	t := &table{
		streams: make([]*dto.LabelPair, len(streams)),
		metrics: make([]*dto.Metric, 0, len(streams)*len(source.Outcomes())),
	}
	name := proto.String("stream")
	for i := range streams {
		t.streams[i] = &dto.LabelPair{Name: name, Value: &streams[i].Name}
	}
	return t
}

// family returns a metric of all streams, which is valid until the next call.
func (t *table) family(f *streamFamily, s *snapshot) *dto.MetricFamily {
	t.used, t.metrics = 0, t.metrics[:0]
	var label *dto.LabelPair // the other label, shared by the series with the same value
	f.series(s, func(value string, stream int, v float64) {
		c := t.next()
		labels := c.labels[:0]
		if value != "" {
			if label == nil || label.GetValue() != value {
				label = &dto.LabelPair{Name: &f.Labels[0], Value: &value}
			}
			labels = append(labels, label)
		}
		c.set(f.Type, append(labels, t.streams[stream]), v)
		t.metrics = append(t.metrics, &c.metric)
	})
	return &dto.MetricFamily{Name: &f.Name, Help: &f.Help, Type: f.Type.Enum(), Metric: t.metrics}
}

// next returns a cell that the current family has not used yet.
func (t *table) next() *cell {
	if t.used == len(t.cells)*chunk {
		t.cells = append(t.cells, make([]cell, chunk))
	}
	c := &t.cells[t.used/chunk][t.used%chunk]
	t.used++
	return c
}

func (c *cell) set(kind dto.MetricType, labels []*dto.LabelPair, v float64) {
	c.value, c.metric.Label = v, labels
	c.metric.Counter, c.metric.Gauge = nil, nil
	if kind == dto.MetricType_COUNTER {
		c.counter.Value = &c.value
		c.metric.Counter = &c.counter
		return
	}
	c.gauge.Value = &c.value
	c.metric.Gauge = &c.gauge
}
