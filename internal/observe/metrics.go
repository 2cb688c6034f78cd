// Package observe tells metrics and the status page what a pipeline does: each is a
// [pipeline.Observer]. Traces are one, too: see internal/tracing.
//
//	histories := &observe.Histories{}
//	p := pipeline.New(pipeline.Options{
//		Observers: []pipeline.Observer{observe.Metrics(m, time.Now), histories}, …
//	})
package observe

import (
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// Metrics returns an observer that counts and times what the pipeline does. now returns the
// present by the clock of the slots.
func Metrics(m *metrics.Metrics, now func() time.Time) pipeline.Observer { return metered{m, now} }

type metered struct {
	*metrics.Metrics
	now func() time.Time
}

// Stream implements [pipeline.Observer].
func (m metered) Stream(s pipeline.Stream, _ source.Slot) pipeline.StreamObserver {
	for _, r := range s.Routes {
		m.Output(r.Output.Name)
	}
	for i, b := range s.Batches {
		if b != nil {
			m.BatchOutput(s.Routes[i].Output.Name)
		}
	}
	seen := meteredStream{metered: m, name: s.Name}
	if !s.Backfill { // whose slots are late before they are asked for
		seen.inTime = m.SlotsInTime(s.Name)
	}
	return seen
}

// Bursts returns an observer that counts and times what is read in bursts. Their slots are older
// than those of a stream when they are asked for: how late they are says nothing, and all that
// are published are in time.
func Bursts(m *metrics.Metrics, now func() time.Time) pipeline.Observer {
	return meteredBursts{metered{m, now}}
}

type meteredBursts struct{ metered }

// Stream implements [pipeline.Observer].
func (m meteredBursts) Stream(s pipeline.Stream, _ source.Slot) pipeline.StreamObserver {
	return meteredBurst{meteredStream{metered: m.metered, name: s.Name}, m.SlotsInTime(s.Name)}
}

type meteredBurst struct {
	meteredStream
	inTime *atomic.Uint64
}

// Frame implements [pipeline.StreamObserver].
func (m meteredBurst) Frame(f source.Frame, requested bool) pipeline.FrameObserver {
	seen, _ := m.meteredStream.Frame(f, requested).(*meteredFrame)
	seen.anyAge = true
	return seen
}

// Ended implements [pipeline.StreamObserver].
func (m meteredBurst) Ended(_ source.Slot, slots int, o source.Outcome, _ time.Duration) {
	if o == source.Published {
		m.inTime.Add(uint64(slots))
	}
}

// Removed implements [pipeline.StreamObserver]. The stream itself goes on.
func (meteredBurst) Removed() {}

type meteredStream struct {
	pipeline.IgnoreStream
	metered
	name   string
	inTime *atomic.Uint64 // nil if none is expected
}

// Fetched implements [pipeline.StreamObserver].
func (m meteredStream) Fetched(took time.Duration, _ error) { m.observeStage("fetch", took) }

// Frame implements [pipeline.StreamObserver].
func (m meteredStream) Frame(f source.Frame, requested bool) pipeline.FrameObserver {
	seen := &meteredFrame{metered: m.metered, at: f.Slot.Time().Add(f.Trail)}
	if !requested && !f.Late { // late ones have ended as no_media
		seen.inTime = m.inTime
	}
	return seen
}

// GapTold implements [pipeline.StreamObserver].
func (m meteredStream) GapTold(_ publish.Gap, err error) { m.countDrop(err) }

// Removed implements [pipeline.StreamObserver].
func (m meteredStream) Removed() { m.Forget(m.name) }

func (m metered) observeStage(stage string, took time.Duration) {
	m.Stage.WithLabelValues(stage).Observe(took.Seconds())
}

// countDrop counts a message that was given up, or each of several, and leaves other
// errors alone.
func (m metered) countDrop(err error) {
	// A gap among the tensors is a message for each output.
	// Only the outermost error holds those of several messages.
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			m.countDrop(err)
		}
		return
	}
	var drop *publish.DropError
	if errors.As(err, &drop) {
		m.PublishErrors.WithLabelValues(drop.Reason).Inc()
	}
}

// A meteredFrame adds up what the outputs of one frame took, and observes each stage
// once a frame.
type meteredFrame struct {
	metered
	at                 time.Time      // of the slot, by the service's clock
	inTime             *atomic.Uint64 // nil if the frame does not count
	anyAge             bool           // how late it is says nothing
	transform, publish time.Duration
}

// Gated implements [pipeline.GateObserver].
func (m *meteredFrame) Gated(took time.Duration, changed map[string]float64) {
	m.observeStage("gate", took)
	for output, share := range changed {
		m.GateChanged.WithLabelValues(output).Observe(share)
	}
}

// Decoded implements [pipeline.FrameObserver].
func (m *meteredFrame) Decoded(took time.Duration, err error) {
	if err == nil {
		m.observeStage("decode", took)
	}
}

// Transformed implements [pipeline.FrameObserver].
func (m *meteredFrame) Transformed(_ *transform.Output, _ *transform.Tensor, took time.Duration, _ error) {
	m.transform += took
}

// Publishing implements [pipeline.FrameObserver].
func (m *meteredFrame) Publishing(_ string, msg publish.Message) publish.Message { return msg }

// Published implements [pipeline.FrameObserver].
func (m *meteredFrame) Published(output string, msg publish.Message, took time.Duration, err error) {
	m.publish += took
	m.countDrop(err)
	if err == nil {
		m.PublishBytes.WithLabelValues(output).Add(float64(publish.Size(msg)))
		if !m.anyAge {
			m.Delivered(output, m.now().Sub(m.at), sampledTrace(msg))
		}
	}
}

// Batched implements [pipeline.BatchObserver].
func (m *meteredFrame) Batched(output string, msg publish.Message, whole bool, took time.Duration, err error) {
	m.Published(output, msg, took, err)
	if err == nil {
		m.Batch(output, whole)
	}
}

// TooLate implements [pipeline.BatchObserver].
func (m *meteredFrame) TooLate(output string) { m.RowsLate.WithLabelValues(output).Inc() }

// Ended implements [pipeline.FrameObserver].
func (m *meteredFrame) Ended(o source.Outcome, why error) {
	if kept := o == source.Published || o == source.Unchanged; m.inTime != nil && kept && m.now().Sub(m.at) <= metrics.InTime {
		m.inTime.Add(1)
	}
	if m.transform > 0 && why == nil {
		m.observeStage("transform", m.transform)
	}
	if o == source.Published || o == source.Dropped {
		m.observeStage("publish", m.publish)
	}
}

// sampledTrace returns the id of the trace that a message belongs to where that is
// sampled, otherwise "". The header is as W3C Trace Context (2021), section 3.2, has it:
// version, trace id, parent id and flags, of which the last bit is "sampled".
func sampledTrace(m publish.Message) string {
	values := m.Header[publish.HeaderTraceparent]
	if len(values) == 0 {
		return ""
	}
	parts := strings.Split(values[0], "-")
	if len(parts) != 4 {
		return ""
	}
	if flags, err := strconv.ParseUint(parts[3], 16, 8); err != nil || flags&1 == 0 {
		return ""
	}
	return parts[1]
}
