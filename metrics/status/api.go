package status

import (
	"maps"
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

	NATS   broker `json:"nats"`
	Totals totals `json:"totals"`
	// Found is how many streams match the filters; Streams are some of them.
	Found   int   `json:"found"`
	Offset  int   `json:"offset"`
	Streams []row `json:"streams"`
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
}

// totals are those of all streams, whatever the filters.
type totals struct {
	Streams  int                  `json:"streams"`
	States   map[health.State]int `json:"states"`
	Expected uint64               `json:"expected"`
	Pending  uint64               `json:"pending"`
	Outcomes map[string]uint64    `json:"outcomes"`
}

// A row is the state of one stream.
type row struct {
	Stream string       `json:"stream"`
	State  health.State `json:"state"`
	// Code and Reason explain the state to programs and people, "" where all is well; Since
	// is when it began. Reasons are all of them, worst first.
	Code      health.Code `json:"code"`
	Reason    string      `json:"reason"`
	Since     string      `json:"since,omitempty"`
	Reasons   []reason    `json:"reasons"`
	Interval  float64     `json:"interval_seconds"`
	Cursor    string      `json:"cursor,omitempty"`
	Newest    string      `json:"newest,omitempty"`
	Freshness float64     `json:"freshness_seconds"`
	Latency   float64     `json:"latency_seconds"`
	Lost      int         `json:"lost"`
	Lag       float64     `json:"lag_seconds"`
	Overlap   float64     `json:"overlap_seconds"`
	// Offset is how far the camera's clock is behind the service's.
	Offset    float64           `json:"producer_offset_seconds"`
	Expected  uint64            `json:"expected"`
	Pending   uint64            `json:"pending"`
	Outcomes  map[string]uint64 `json:"outcomes"`
	Outputs   []Output          `json:"outputs"`
	Timeline  *timeline         `json:"timeline,omitempty"`
	Latencies *points           `json:"latencies,omitempty"`
	Gaps      []gap             `json:"gaps"`
	// Slots are only in the answer to /api/streams/{name}.
	Slots *timeline `json:"slots,omitempty"`

	rank int // of the state, 0 for the worst
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

// overview returns the state of the process, and that of all streams.
func (h *handler) overview(now time.Time) (overview, []row) {
	o := overview{
		Time: stamp(now), Version: h.opts.Version, Uptime: round(time.Since(h.opts.Started).Seconds()),
		Page: h.files.version, Mode: h.opts.Mode, NotReady: []string{},
		Totals: totals{States: map[health.State]int{}, Outcomes: map[string]uint64{}},
	}
	report := h.opts.Health()
	if o.Ready = report.Ready; !o.Ready {
		o.NotReady = append(o.NotReady, report.Lines()...)
	}
	o.Reasons = h.reasons(report.Reasons)
	o.Counts = report.Counts()
	maps.DeleteFunc(o.Counts, func(_ health.Code, n int) bool { return n == 0 })
	if h.opts.Busy != nil {
		o.Busy = h.opts.Busy()
	}
	if h.opts.ClockOffset != nil {
		o.ClockOffset = round(h.opts.ClockOffset().Seconds())
	}
	o.NATS = h.broker()
	var rows []row
	for _, s := range h.opts.Streams() {
		rows = append(rows, h.row(s, now, report))
		o.Totals.add(s)
	}
	if h.opts.Waiting != nil {
		for _, name := range h.opts.Waiting() {
			rows = append(rows, waitingRow(name))
		}
	}
	for _, r := range rows {
		o.Totals.States[r.State]++
	}
	o.Totals.Streams = len(rows)
	return o, rows
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

func (t *totals) add(s Stream) {
	t.Expected += s.Expected
	t.Pending += s.Pending
	for _, o := range source.Outcomes() {
		t.Outcomes[o.String()] += s.Ended[o]
	}
}

// reasons returns reasons with their texts.
func (h *handler) reasons(all []health.Reason) []reason {
	out := make([]reason, len(all))
	for i, r := range all {
		out[i] = reason{r.Code, r.Text(), stamp(h.opts.At(r.Since))}
	}
	return out
}

// row returns the row of a stream. One that is not in the report has just begun.
func (h *handler) row(s Stream, now time.Time, report health.Report) row {
	is, known := report.Streams[s.Name]
	if !known {
		is.State = health.Beginning
	}

	end := source.SlotAt(s.Present(now))
	if s.Cursor < end.Add(-timelineLength) || s.To != 0 {
		end = min(end, s.Cursor)
	}
	recent := s.History.summary(end)
	r := row{
		Stream: s.Name, State: is.State, Reasons: h.reasons(is.Reasons),
		Interval: s.Interval.Seconds(), Cursor: s.Cursor.String(),
		Freshness: round(s.Freshness(now).Seconds()), Latency: round(recent.latest), Lost: recent.lost,
		Lag: round(s.Lag.Seconds()), Overlap: round(s.Overlap.Seconds()), Offset: round(s.Trail.Seconds()),
		Expected: s.Expected, Pending: s.Pending, Outcomes: map[string]uint64{}, Outputs: s.Outputs,
		Timeline:  &timeline{recent.from.String(), cellTime.Seconds(), recent.cells},
		Latencies: &points{recent.from.String(), perLatency * cellTime.Seconds(), recent.latency},
		Gaps:      []gap{},
		rank:      slices.Index(health.States(), is.State),
	}
	if len(r.Reasons) > 0 {
		r.Code, r.Reason, r.Since = r.Reasons[0].Code, r.Reasons[0].Text, r.Reasons[0].Since
	}
	if s.Newest != 0 {
		r.Newest = s.Newest.String()
	}
	for i, l := range recent.latency {
		recent.latency[i] = round(l)
	}
	for _, o := range source.Outcomes() {
		r.Outcomes[o.String()] = s.Ended[o]
	}
	for _, g := range slices.Backward(recent.gaps) {
		r.Gaps = append(r.Gaps, gap{g.From.String(), g.To.String(), g.Slots, g.Reason.String()})
	}
	return r
}

// waitingRow is the row of a stream that has not started.
func waitingRow(name string) row {
	return row{
		Stream: name, State: health.WaitingForNATS, Reason: "NATS is not ready yet", Reasons: []reason{},
		Outcomes: map[string]uint64{}, Outputs: []Output{}, Gaps: []gap{}, rank: slices.Index(health.States(), health.WaitingForNATS),
	}
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
