package status

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/source"
)

// An overview is the answer to /api/streams.
type overview struct {
	Time    string  `json:"time"`
	Version string  `json:"version"`
	Uptime  float64 `json:"uptime_seconds"`
	// Page changes when the page's files do.
	Page     string   `json:"page"`
	Mode     string   `json:"mode"`
	Ready    bool     `json:"ready"`
	NotReady []string `json:"not_ready"`
	// Reasons are those of the process, worst first, and Counts how many streams have each
	// reason that there is.
	Reasons []reason            `json:"reasons"`
	Counts  map[health.Code]int `json:"reason_counts"`
	// Busy is the share of the last ten seconds that the workers were busy.
	Busy float64 `json:"workers_busy_ratio"`
	// ClockOffset is how far the host's clock is ahead of the service's.
	ClockOffset float64 `json:"clock_offset_seconds"`

	// FrameRequest is what the picture of a slot that has passed costs, where there are any.
	FrameRequest *FramePrice `json:"frame_request,omitempty"`
	Links        Links       `json:"links"`

	NATS   broker `json:"nats"`
	Totals totals `json:"totals"`
	// Found is how many streams match the filters; Streams are some of them. Others are those
	// that were asked for in full, and are not among them.
	Found   int   `json:"found"`
	Offset  int   `json:"offset"`
	Streams []row `json:"streams"`
	Others  []row `json:"others,omitempty"`
}

// A reason is why the process or a stream is not well. Code is for programs.
type reason struct {
	Code  health.Code `json:"code"`
	Text  string      `json:"text"`
	Since string      `json:"since"`
}

type broker struct {
	URL         string       `json:"url"`
	Connected   bool         `json:"connected"`
	Connections []connection `json:"connections"`
}

type connection struct {
	Name       string `json:"name"`
	Connected  bool   `json:"connected"`
	Reconnects uint64 `json:"reconnects"`
	// Unconfirmed counts messages that may be lost, as the connection broke.
	Unconfirmed uint64 `json:"unconfirmed"`
}

// totals are those of all streams, whatever the filters.
type totals struct {
	Streams  int                  `json:"streams"`
	States   map[health.State]int `json:"states"`
	Expected uint64               `json:"expected"`
	Pending  uint64               `json:"pending"`
	Outcomes map[string]uint64    `json:"outcomes"`
	Images   *bill                `json:"images,omitempty"`
}

// A row is the state of one stream. What comes after Overlap is left out of the rows that
// were not asked for in full.
type row struct {
	Stream string       `json:"stream"`
	State  health.State `json:"state"`
	// Code and Reason explain the state to programs and people, "" where all is well; Since
	// is when it began. Reasons are all of them, worst first.
	Code      health.Code `json:"code"`
	Reason    string      `json:"reason"`
	Since     string      `json:"since,omitempty"`
	Reasons   []reason    `json:"reasons"`
	Camera    *camera     `json:"camera,omitempty"`
	Interval  float64     `json:"interval_seconds"`
	Cursor    string      `json:"cursor,omitempty"`
	Newest    string      `json:"newest,omitempty"`
	Freshness float64     `json:"freshness_seconds"`
	Latency   float64     `json:"latency_seconds"`
	Lost      int         `json:"lost"`
	Lag       float64     `json:"lag_seconds"`
	Overlap   float64     `json:"overlap_seconds"`
	// Offset is how far the camera's clock is behind the service's.
	Offset    *float64          `json:"producer_offset_seconds,omitempty"`
	Expected  *uint64           `json:"expected,omitempty"`
	Pending   *uint64           `json:"pending,omitempty"`
	Outcomes  map[string]uint64 `json:"outcomes,omitempty"`
	Images    *bill             `json:"images,omitempty"`
	Outputs   []Output          `json:"outputs,omitzero"`
	Timeline  *timeline         `json:"timeline,omitempty"`
	Latencies *points           `json:"latencies,omitempty"`
	Gaps      []gap             `json:"gaps,omitzero"`
	// Bursts are left out where there are none.
	Bursts []Burst `json:"bursts,omitempty"`
	// Slots are only in the answer to /api/streams/{name}.
	Slots *timeline `json:"slots,omitempty"`
}

// A timeline has one letter for each cell of time.
type timeline struct {
	From  string  `json:"from"`
	Cell  float64 `json:"cell_seconds"`
	Cells string  `json:"cells"`
}

// points are durations in seconds, 0 where there is none.
type points struct {
	From   string    `json:"from"`
	Every  float64   `json:"every_seconds"`
	Values []float64 `json:"seconds"`
}

type gap struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Slots  int    `json:"slots"`
	Reason string `json:"reason"`
}

// overview returns the state of the process, without streams.
func (h *handler) overview(x *index, now time.Time) overview {
	o := overview{
		Time: stamp(now), Version: h.opts.Version, Uptime: round(time.Since(h.opts.Started).Seconds()),
		Page: h.files.version, Mode: h.opts.Mode, NotReady: []string{},
		Ready: x.report.Ready, Reasons: h.reasons(x.report.Reasons), Counts: x.counts, Totals: x.totals,
	}
	if !o.Ready {
		o.NotReady = append(o.NotReady, x.report.Lines()...)
	}
	if h.opts.Busy != nil {
		o.Busy = h.opts.Busy()
	}
	if h.opts.ClockOffset != nil {
		o.ClockOffset = round(h.opts.ClockOffset().Seconds())
	}
	if o.Links = h.opts.Links; h.opts.Frame != nil {
		o.FrameRequest = &h.opts.FramePrice
	}
	o.NATS, o.Totals.Images = h.broker(), h.bill("")
	return o
}

func (h *handler) broker() broker {
	b := broker{URL: h.opts.NATS, Connections: []connection{}}
	for _, c := range h.opts.Connections() {
		b.Connections = append(b.Connections, connection(c))
		// The tensors of a stream always use the same connection, so one is enough for some
		// of the streams.
		b.Connected = b.Connected || c.Connected && strings.HasPrefix(c.Name, "data")
	}
	return b
}

// reasons returns reasons with their texts.
func (h *handler) reasons(all []health.Reason) []reason {
	out := make([]reason, len(all))
	for i, r := range all {
		out[i] = reason{r.Code, r.Text(), stamp(h.opts.At(r.Since))}
	}
	return out
}

// brief returns what a list of streams needs to know of one.
func (h *handler) brief(e *entry, now time.Time) row {
	r := row{Stream: e.Name, State: e.is.State, Lost: e.lost, Latency: round(e.latency)}
	if e.waiting {
		r.Reason, r.Reasons, r.Outcomes, r.Outputs, r.Gaps = "NATS is not ready yet", []reason{}, map[string]uint64{}, []Output{}, []gap{}
		r.Offset, r.Expected, r.Pending = new(float64), new(uint64), new(uint64)
		return r
	}
	r.Camera = cameraOf(e, now)
	r.Reasons, r.Interval, r.Cursor = h.reasons(e.is.Reasons), e.Interval.Seconds(), e.Cursor.String()
	r.Freshness, r.Lag, r.Overlap = round(e.Freshness(now).Seconds()), round(e.Lag.Seconds()), round(e.Overlap.Seconds())
	if len(r.Reasons) > 0 {
		r.Code, r.Reason, r.Since = r.Reasons[0].Code, r.Reasons[0].Text, r.Reasons[0].Since
	}
	if e.Newest != 0 && !e.Resting {
		r.Newest = e.Newest.String()
	}
	return r
}

// full returns all that there is to know of a stream, but its slots.
func (h *handler) full(e *entry, now time.Time) row {
	r := h.brief(e, now)
	if e.waiting {
		return r
	}
	recent := e.History.summary(e.end)
	offset := round(e.Trail.Seconds())
	r.Offset, r.Expected, r.Pending, r.Outcomes, r.Outputs = &offset, &e.Expected, &e.Pending, map[string]uint64{}, []Output{}
	r.Latency, r.Lost, r.Gaps = round(recent.latest), recent.lost, []gap{}
	r.Timeline = &timeline{recent.from.String(), cellTime.Seconds(), recent.cells}
	r.Latencies = &points{recent.from.String(), perLatency * cellTime.Seconds(), recent.latency}
	r.Images = h.bill(e.Name)
	if e.Outputs != nil {
		r.Outputs = append(r.Outputs, e.Outputs()...)
	}
	if e.Bursts != nil {
		r.Bursts = e.Bursts()
	}
	for i, l := range recent.latency {
		recent.latency[i] = round(l)
	}
	for _, o := range source.Outcomes() {
		r.Outcomes[o.String()] = e.Ended[o]
	}
	for _, g := range slices.Backward(recent.gaps) {
		r.Gaps = append(r.Gaps, gap{g.From.String(), g.To.String(), g.Slots, g.Reason.String()})
	}
	return r
}

// stamp returns a time as text, "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return source.SlotAt(t).String()
}

// round rounds seconds to hundredths.
func round(v float64) float64 { return math.Round(v*100) / 100 }
