package status

import (
	"strings"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// How much of a stream's past is kept.
const (
	// The timeline covers the last ten minutes.
	cellTime       = 5 * time.Second
	cellCount      = 120
	timelineLength = cellCount * cellTime

	keptSlots = 600 // two minutes at the shortest interval
	keptGaps  = 8

	cellSlots  = source.Slot(cellTime / time.Millisecond) // a cell in the slots' unit
	perLatency = 2                                        // cells for each point of the latency
)

// The letters of a timeline besides those of the outcomes.
const (
	letterNothing = '-' // before the stream's start
	letterPending = '_' // not ended yet
)

// letters are those of the outcomes. Of the outcomes in a cell, the one with the highest
// rank is shown.
var (
	letters = [...]byte{
		source.Pending: letterPending, source.Published: 'P', source.Unwatched: 'W', source.Unchanged: 'E', source.Skipped: 'K', source.NoMedia: 'N', source.MediaError: 'M',
		source.Undecodable: 'U', source.Stale: 'S', source.Dropped: 'D',
	}
	rank = [...]int{
		source.Pending: 0, source.Skipped: 1, source.Unchanged: 2, source.Published: 3, source.Unwatched: 4, source.NoMedia: 5, source.Stale: 6,
		source.Dropped: 7, source.MediaError: 8, source.Undecodable: 9,
	}
)

// A History keeps what the page shows of a stream's last minutes, in about 1.5 KiB. Its
// methods may be called concurrently.
type History struct {
	grid source.Grid

	mu    sync.Mutex
	first source.Slot // the number of the first cell
	cell  source.Slot // the number of the newest cell
	worst [cellCount]source.Outcome
	lost  [cellCount]uint16
	// latency is the longest in each cell, in seconds; 0 where nothing was published.
	latency [cellCount]float32

	slots [keptSlots]source.Outcome
	next  source.Slot // after the newest slot
	n     int         // slots so far, at most keptSlots

	gaps []source.Gap // the newest, oldest first
}

// NewHistory returns a history of the slots from start on.
func NewHistory(grid source.Grid, start source.Slot) *History {
	first := start / cellSlots
	return &History{grid: grid, first: first, cell: first - 1, next: start}
}

// Add notes how the next n slots ended, and when. The time that it takes is bounded by
// what a history keeps, however many slots those are.
func (h *History) Add(from source.Slot, n int, o source.Outcome, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if from < h.next { // the clock was wrong before
		h.first = from / cellSlots
		h.cell, h.n = h.first-1, 0
	}
	h.next = h.grid.Step(from, n)
	for k := max(0, n-keptSlots); k < n; k++ {
		h.slots[h.index(h.grid.Step(from, k))] = o
	}
	h.n = min(h.n+n, keptSlots)
	// A slot lasts until the next one.
	last := (h.next - 1) / cellSlots
	for h.cell = max(h.cell, last-cellCount); h.cell < last; {
		h.cell++
		i := h.cell % cellCount
		h.worst[i], h.lost[i], h.latency[i] = source.Pending, 0, 0
	}
	for c := max(from/cellSlots, last-cellCount+1); c <= last; c++ {
		h.addCell(c, from, o, at)
	}
	if o.Lost() {
		h.addGap(source.Gap{From: from, To: h.grid.Step(h.next, -1), Slots: n, Reason: o})
	}
}

// addCell notes in a cell how the slots from one up to next ended, and when.
func (h *History) addCell(c, from source.Slot, o source.Outcome, at time.Time) {
	i := c % cellCount
	if rank[o] > rank[h.worst[i]] {
		h.worst[i] = o
	}
	first := h.grid.Ceil(max(from, c*cellSlots))
	n := h.grid.Count(first, h.grid.Ceil(min(h.next, (c+1)*cellSlots)))
	switch {
	case n == 0: // an earlier slot lasts until here
	case o == source.Published:
		h.latency[i] = max(h.latency[i], float32(at.Sub(first.Time()).Seconds()))
	case o.Lost():
		h.lost[i] += uint16(n)
	}
}

// addGap notes slots without a tensor.
func (h *History) addGap(g source.Gap) {
	if last := len(h.gaps) - 1; last >= 0 && h.gaps[last].Reason == g.Reason && h.grid.Step(h.gaps[last].To, 1) == g.From {
		h.gaps[last].To = g.To
		h.gaps[last].Slots += g.Slots
		return
	}
	if len(h.gaps) == keptGaps {
		h.gaps = append(h.gaps[:0], h.gaps[1:]...)
	}
	h.gaps = append(h.gaps, g)
}

func (h *History) index(s source.Slot) int {
	return int(s/source.Slot(h.grid.Interval().Milliseconds())) % keptSlots
}

// A summary is what a history holds up to one instant.
type summary struct {
	from    source.Slot // the start of the first cell
	cells   string      // one letter for each
	lost    int         // slots in the cells
	latest  float64     // the newest latency in seconds, 0 for none
	latency []float64   // in seconds, one for each perLatency cells; 0 for none
	gaps    []source.Gap
}

// summary returns what the history holds up to the cell with the slot end.
func (h *History) summary(end source.Slot) summary {
	h.mu.Lock()
	defer h.mu.Unlock()
	begin := end/cellSlots - cellCount + 1
	s := summary{
		from: begin * cellSlots, latency: make([]float64, cellCount/perLatency),
		gaps: append([]source.Gap(nil), h.gaps...),
	}
	var cells strings.Builder
	for k := range cellCount {
		c := begin + source.Slot(k)
		i := c % cellCount
		switch {
		case c < h.first || c <= h.cell-cellCount:
			cells.WriteByte(letterNothing)
			continue
		case c > h.cell:
			cells.WriteByte(letterPending)
			continue
		}
		cells.WriteByte(letters[h.worst[i]])
		s.lost += int(h.lost[i])
		if l := float64(h.latency[i]); l > 0 {
			s.latest = l
			s.latency[k/perLatency] = max(s.latency[k/perLatency], l)
		}
	}
	s.cells = cells.String()
	return s
}

// brief returns of a summary how many slots were lost, and the newest latency.
func (h *History) brief(end source.Slot) (lost int, latest float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := min(end/cellSlots, h.cell)
	first := max(end/cellSlots-cellCount+1, h.first, h.cell-cellCount+1)
	if first > last {
		return 0, 0
	}
	i := int(last % cellCount)
	for range last - first + 1 {
		lost += int(h.lost[i])
		if latest == 0 {
			latest = float64(h.latency[i])
		}
		if i--; i < 0 {
			i = cellCount - 1
		}
	}
	return lost, latest
}

// lastSlots returns a letter for each of the last slots, the first of which is from.
func (h *History) lastSlots() (from source.Slot, cells string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	from = h.grid.Step(h.next, -h.n)
	var all strings.Builder
	for k := range h.n {
		all.WriteByte(letters[h.slots[h.index(h.grid.Step(from, k))]])
	}
	return from, all.String()
}
