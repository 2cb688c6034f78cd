package status

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/source"
)

// indexAge is how long an index is used: all who look meanwhile share what it costs.
const indexAge = time.Second

// An index is what has to be known of every stream to answer for some of them.
type index struct {
	made    time.Time
	entries []entry
	byName  map[string]*entry
	report  health.Report
	counts  map[health.Code]int
	totals  totals
}

// An entry is one stream, with what lists are sorted and filtered by.
type entry struct {
	*Stream
	waiting bool // it has not begun
	is      health.StreamReport
	end     source.Slot // of its timeline
	lost    int
	latency float64
	rank    int // of the state, 0 for the worst
	natural int // the place of its name among all, with numbers in names as numbers
}

// An indexer makes an index where the last one is too old.
type indexer struct {
	mu   sync.Mutex
	last *index
	// names are those of the last index, and natural their places.
	names   []string
	natural []int
}

// index returns what is known of all streams, as it was within the last second.
func (h *handler) index(now time.Time) *index {
	h.indexer.mu.Lock()
	defer h.indexer.mu.Unlock()
	if x := h.indexer.last; x == nil || time.Since(x.made) >= indexAge {
		h.indexer.last = h.newIndex(now)
	}
	return h.indexer.last
}

func (h *handler) newIndex(now time.Time) *index {
	streams := h.opts.Streams()
	var waiting []string
	if h.opts.Waiting != nil {
		waiting = h.opts.Waiting()
	}
	x := &index{made: time.Now(), report: h.opts.Health(), entries: make([]entry, 0, len(streams)+len(waiting))}
	x.counts = x.report.Counts()
	maps.DeleteFunc(x.counts, func(_ health.Code, n int) bool { return n == 0 })
	var ended [len(source.Stats{}.Ended)]uint64
	for i := range streams {
		e := entryOf(&streams[i], now, x.report)
		x.totals.Expected += e.Expected
		x.totals.Pending += e.Pending
		for o, n := range e.Ended {
			ended[o] += n
		}
		x.entries = append(x.entries, e)
	}
	for _, name := range waiting {
		s := &Stream{Stream: metrics.Stream{Name: name}}
		x.entries = append(x.entries, entry{Stream: s, waiting: true, is: health.StreamReport{State: health.WaitingForNATS}})
	}
	x.totals.Outcomes = map[string]uint64{}
	for _, o := range source.Outcomes() {
		x.totals.Outcomes[o.String()] = ended[o]
	}
	h.indexer.order(x)
	return x
}

// entryOf returns the entry of a stream. One that is not in the report has just begun.
func entryOf(s *Stream, now time.Time, report health.Report) entry {
	e := entry{Stream: s, end: source.SlotAt(s.Present(now))}
	var known bool
	if e.is, known = report.Streams[s.Name]; !known {
		e.is.State = health.Beginning
	}
	if s.Cursor < e.end.Add(-timelineLength) || s.To != 0 {
		e.end = min(e.end, s.Cursor)
	}
	e.lost, e.latency = s.History.brief(e.end)
	return e
}

// order counts the states, and gives each entry its rank and the place of its name.
func (n *indexer) order(x *index) {
	states := health.States()
	ranks := make(map[health.State]int, len(states))
	for i, s := range states {
		ranks[s] = i
	}
	names := make([]string, len(x.entries))
	x.byName = make(map[string]*entry, len(x.entries))
	for i := range x.entries {
		names[i] = x.entries[i].Name
		x.byName[names[i]] = &x.entries[i]
	}
	if !slices.Equal(names, n.names) {
		places := make([]int, len(names))
		for i := range places {
			places[i] = i
		}
		slices.SortFunc(places, func(a, b int) int { return compareNames(names[a], names[b]) })
		n.names, n.natural = names, make([]int, len(names))
		for place, i := range places {
			n.natural[i] = place
		}
	}
	counts := make([]int, len(states))
	for i := range x.entries {
		e := &x.entries[i]
		e.natural, e.rank = n.natural[i], ranks[e.is.State]
		counts[e.rank]++
	}
	x.totals.States = map[health.State]int{}
	for i, s := range states {
		if counts[i] > 0 {
			x.totals.States[s] = counts[i]
		}
	}
	x.totals.Streams = len(x.entries)
}
