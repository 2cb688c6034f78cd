package metrics

import (
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"github.com/cvfeeder/cvfeeder/source"
)

// A table builds one metric of all streams after the other, in memory that it uses
// again. The registry of client_golang would make every series of its own, and then
// hash and sort them: for 10,000 streams that is three times the time, and ten times
// the memory.
type table struct {
	streams []*dto.LabelPair // the label of each
	cells   [][]cell         // what there is room for, in chunks
	used    int
	metrics []*dto.Metric
}

// A cell is the memory of one series.
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

// family returns a metric, which is good until the next call.
func (t *table) family(f *streamFamily, s *snapshot) *dto.MetricFamily {
	t.used, t.metrics = 0, t.metrics[:0]
	var label *dto.LabelPair // the other one, shared by the series that have it
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

// next returns a cell that this family has not used yet.
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
