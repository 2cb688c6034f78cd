package status

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// An overview is the answer of /api/streams.
type overview struct {
	Time    string  `json:"time"`
	Version string  `json:"version"`
	Uptime  float64 `json:"uptime_seconds"`
	// Page changes with the page's files.
	Page     string   `json:"page"`
	Mode     string   `json:"mode"`
	Ready    bool     `json:"ready"`
	NotReady []string `json:"not_ready"`
	// Busy is the share of the workers' time that they have worked lately.
	Busy   float64 `json:"workers_busy_ratio"`
	NATS   broker  `json:"nats"`
	Totals totals  `json:"totals"`
	// Found is how many streams the filters let through; Streams are some of them.
	Found   int   `json:"found"`
	Offset  int   `json:"offset"`
	Streams []row `json:"streams"`
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

// totals are those of all streams, whatever the filters say.
type totals struct {
	Streams  int               `json:"streams"`
	States   map[State]int     `json:"states"`
	Expected uint64            `json:"expected"`
	Pending  uint64            `json:"pending"`
	Outcomes map[string]uint64 `json:"outcomes"`
}

// A row is a stream.
type row struct {
	Stream string `json:"stream"`
	State  State  `json:"state"`
	// Reason is text, empty where all is well; Since is when that began.
	Reason    string            `json:"reason"`
	Since     string            `json:"since,omitempty"`
	Interval  float64           `json:"interval_seconds"`
	Cursor    string            `json:"cursor,omitempty"`
	Newest    string            `json:"newest,omitempty"`
	Freshness float64           `json:"freshness_seconds"`
	Latency   float64           `json:"latency_seconds"`
	Lost      int               `json:"lost"`
	Lag       float64           `json:"lag_seconds"`
	Overlap   float64           `json:"overlap_seconds"`
	Expected  uint64            `json:"expected"`
	Pending   uint64            `json:"pending"`
	Outcomes  map[string]uint64 `json:"outcomes"`
	Outputs   []Output          `json:"outputs"`
	Timeline  *timeline         `json:"timeline,omitempty"`
	Latencies *points           `json:"latencies,omitempty"`
	Gaps      []gap             `json:"gaps"`
	// Slots are only in the answer for one stream.
	Slots *timeline `json:"slots,omitempty"`

	rank int
}

// A timeline holds a letter for each cell of time.
type timeline struct {
	From  string  `json:"from"`
	Cell  float64 `json:"cell_seconds"`
	Cells string  `json:"cells"`
}

// Points are seconds, 0 where there is none.
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

// look asks all that there is to ask.
func (h *handler) look(now time.Time) (overview, []row) {
	o := overview{
		Time: stamp(now), Version: h.opts.Version, Uptime: round(now.Sub(h.opts.Started).Seconds()),
		Page: h.files.version, Mode: h.opts.Mode, NotReady: []string{},
		Totals: totals{States: map[State]int{}, Outcomes: map[string]uint64{}},
	}
	if why := h.opts.NotReady(); len(why) > 0 {
		o.NotReady = why
	}
	o.Ready = len(o.NotReady) == 0
	if h.opts.Busy != nil {
		o.Busy = h.opts.Busy()
	}
	o.NATS = h.broker()
	var rows []row
	for _, s := range h.opts.Streams() {
		rows = append(rows, newRow(s, now, o.NATS.Connected))
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
		// Tensors go by those of data; one of them is enough for some streams.
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

func newRow(s Stream, now time.Time, nats bool) row {
	end := source.SlotAt(now)
	if s.Cursor < end.Add(-Cells*Cell) || s.To != 0 {
		end = min(end, s.Cursor)
	}
	p := s.History.at(end)
	v := judge(s, p, now, nats)
	r := row{
		Stream: s.Name, State: v.state, Reason: v.reason, Since: stamp(v.since),
		Interval: s.Interval.Seconds(), Cursor: s.Cursor.String(),
		Freshness: round(s.Freshness(now).Seconds()), Latency: round(p.latest), Lost: p.lost,
		Lag: round(s.Lag.Seconds()), Overlap: round(s.Overlap.Seconds()),
		Expected: s.Expected, Pending: s.Pending, Outcomes: map[string]uint64{}, Outputs: s.Outputs,
		Timeline:  &timeline{p.from.String(), Cell.Seconds(), p.cells},
		Latencies: &points{p.from.String(), perLatency * Cell.Seconds(), p.latency},
		Gaps:      []gap{},
		rank:      slices.Index(States(), v.state),
	}
	if s.Newest != 0 {
		r.Newest = s.Newest.String()
	}
	for i, l := range p.latency {
		p.latency[i] = round(l)
	}
	for _, o := range source.Outcomes() {
		r.Outcomes[o.String()] = s.Ended[o]
	}
	for _, g := range slices.Backward(p.gaps) {
		r.Gaps = append(r.Gaps, gap{g.From.String(), g.To.String(), g.Slots, g.Reason.String()})
	}
	return r
}

// waitingRow is that of a stream which has not begun.
func waitingRow(name string) row {
	return row{
		Stream: name, State: Waiting, Reason: "NATS has not been ready yet",
		Outcomes: map[string]uint64{}, Outputs: []Output{}, Gaps: []gap{}, rank: slices.Index(States(), Waiting),
	}
}

// order sorts rows, by name where they are equal.
func order(rows []row, by string, reverse bool) {
	slices.SortStableFunc(rows, func(a, b row) int {
		c := 0
		switch by {
		case "age":
			c = cmp.Compare(b.Freshness, a.Freshness)
		case "gaps":
			c = cmp.Compare(b.Lost, a.Lost)
		case "latency":
			c = cmp.Compare(b.Latency, a.Latency)
		case "state":
			c = cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(b.Lost, a.Lost))
		}
		c = cmp.Or(c, natural(a.Stream, b.Stream))
		if reverse {
			c = -c
		}
		return c
	})
}

// natural compares names, with the numbers in them as numbers: cam-9 before cam-10.
func natural(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		n, m := digits(x), digits(y)
		if n > 0 && m > 0 {
			p, q := strings.TrimLeft(x[:n], "0"), strings.TrimLeft(y[:m], "0")
			if c := cmp.Or(cmp.Compare(len(p), len(q)), strings.Compare(p, q)); c != 0 {
				return c
			}
			x, y = x[n:], y[m:]
			continue
		}
		if x[0] != y[0] {
			return cmp.Compare(x[0], y[0])
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(a, b))
}

// digits returns how many digits s begins with.
func digits(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }

// stamp writes a time, "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return source.SlotAt(t).String()
}

// round cuts seconds to what people and charts can use.
func round(v float64) float64 { return float64(int64(v*100+0.5)) / 100 }
