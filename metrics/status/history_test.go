package status

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/source"
)

func grid(t testing.TB, interval time.Duration) source.Grid {
	t.Helper()
	g, err := source.NewGrid(interval)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// at is an instant of the tests, at the start of a cell.
const at = source.Slot(1767323045000)

// fill adds slots that ended as the letters say, each two seconds after its instant.
func fill(t testing.TB, h *History, from source.Slot, all string) source.Slot {
	t.Helper()
	for _, l := range []byte(all) {
		o := source.Outcome(strings.IndexByte(string(letters[:]), l))
		h.Add(from, 1, o, from.Add(2*time.Second).Time())
		from = h.grid.Step(from, 1)
	}
	return from
}

func TestTimelineShowsTheWorst(t *testing.T) {
	h := NewHistory(grid(t, time.Second), at)
	fill(t, h, at, "PPPPP"+"PNPPP"+"PNUPN"+"SDPPP"+"PP")
	p := h.summary(at.Add(29 * time.Second)) // in the sixth cell
	want := strings.Repeat("-", cellCount-6) + "PNUDP_"
	if diff := cmp.Diff(want, p.cells); diff != "" {
		t.Error(diff)
	}
	if p.lost != 6 || p.latest != 2 || p.from != at.Add(30*time.Second-timelineLength) {
		t.Errorf("lost %d, latency %v, from %v", p.lost, p.latest, p.from)
	}
	gaps := []source.Gap{
		{From: at + 6000, To: at + 6000, Slots: 1, Reason: source.NoMedia},
		{From: at + 11000, To: at + 11000, Slots: 1, Reason: source.NoMedia},
		{From: at + 12000, To: at + 12000, Slots: 1, Reason: source.Undecodable},
		{From: at + 14000, To: at + 14000, Slots: 1, Reason: source.NoMedia},
		{From: at + 15000, To: at + 15000, Slots: 1, Reason: source.Stale},
		{From: at + 16000, To: at + 16000, Slots: 1, Reason: source.Dropped},
	}
	if diff := cmp.Diff(gaps, p.gaps); diff != "" {
		t.Error(diff)
	}
	from, cells := h.lastSlots()
	if from != at || cells != "PPPPPPNPPPPNUPNSDPPPPP" {
		t.Errorf("each slot from %v: %s", from, cells)
	}
}

// TestHistoryForgets adds far more than is kept, and asks for times before and after it.
func TestHistoryForgets(t *testing.T) {
	h := NewHistory(grid(t, 200*time.Millisecond), at)
	next := fill(t, h, at, strings.Repeat("N", 300)+strings.Repeat("P", 20*60*5))
	p := h.summary(next - 1)
	if want := strings.Repeat("P", cellCount); p.cells != want || p.lost != 0 {
		t.Errorf("%d lost: %s", p.lost, p.cells)
	}
	if _, cells := h.lastSlots(); cells != strings.Repeat("P", keptSlots) {
		t.Errorf("%d slots: %s", len(cells), cells)
	}
	if got := h.summary(next.Add(time.Hour)).cells; got != strings.Repeat("_", cellCount) {
		t.Errorf("an hour later: %s", got)
	}
	if got := h.summary(at.Add(-time.Hour)).cells; got != strings.Repeat("-", cellCount) {
		t.Errorf("an hour before: %s", got)
	}
	for range 100 { // as many gaps
		next = fill(t, h, next, "PN")
	}
	if p := h.summary(next); len(p.gaps) != keptGaps || p.gaps[keptGaps-1].To != next-200 {
		t.Errorf("%d gaps: %v", len(p.gaps), p.gaps)
	}
}

// TestSlowSlotsLast: a slot that is longer than a cell fills several.
func TestSlowSlotsLast(t *testing.T) {
	h := NewHistory(grid(t, 15*time.Second), at)
	next := fill(t, h, h.grid.Ceil(at), "PNP")
	if got := h.summary(next - 1).cells; !strings.HasSuffix(got, "PPPNNNPPP") {
		t.Error(got)
	}
	if got := h.summary(next - 1).lost; got != 1 {
		t.Errorf("%d slots lost", got)
	}
}

// TestHistoryOfRuns adds the same slots in runs and one by one.
func TestHistoryOfRuns(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 0))
		interval := []time.Duration{200 * time.Millisecond, 1300 * time.Millisecond, 7 * time.Second, 300 * time.Second}[seed%4]
		runs := NewHistory(grid(t, interval), at)
		single := NewHistory(grid(t, interval), at)
		s := runs.grid.Ceil(at)
		for range 40 {
			n := 1 + rng.IntN(4)
			if rng.IntN(3) == 0 {
				n = 1 + rng.IntN(5000)
			}
			o := source.Outcomes()[rng.IntN(len(source.Outcomes()))]
			when := runs.grid.Step(s, n).Time().Add(2 * time.Second)
			runs.Add(s, n, o, when)
			for range n {
				single.Add(s, 1, o, when)
				s = single.grid.Step(s, 1)
			}
			for _, end := range []source.Slot{s - 1, s.Add(time.Minute), s.Add(-3 * time.Minute)} {
				if d := cmp.Diff(single.summary(end), runs.summary(end), cmp.AllowUnexported(summary{})); d != "" {
					t.Fatalf("seed %d (-one by one +in runs):\n%s", seed, d)
				}
				want := runs.summary(end)
				if lost, latest := runs.brief(end); lost != want.lost || latest != want.latest {
					t.Fatalf("seed %d: in brief %d lost, latency %v; want %d, %v", seed, lost, latest, want.lost, want.latest)
				}
			}
			_, want := single.lastSlots()
			if _, got := runs.lastSlots(); got != want {
				t.Fatalf("seed %d: each slot %s, want %s", seed, got, want)
			}
		}
	}
}

// TestHistoryOfALongRun adds the slots since 1970: what takes time for each would take
// minutes.
func TestHistoryOfALongRun(t *testing.T) {
	h := NewHistory(grid(t, 200*time.Millisecond), 0)
	h.Add(0, int(at/200), source.NoMedia, at.Time())
	want := strings.Repeat("N", cellCount)
	if p := h.summary(at - 1); p.cells != want || p.lost != cellCount*25 || p.gaps[0].Slots != int(at/200) {
		t.Errorf("%d lost, gaps %v: %s", p.lost, p.gaps, p.cells)
	}
}

func TestHistoryIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(History{}); size > 1536 {
		t.Errorf("%d bytes a stream", size)
	}
}

func BenchmarkHistoryAdd(b *testing.B) {
	h := NewHistory(grid(b, 200*time.Millisecond), at)
	s := at
	when := at.Time()
	for b.Loop() {
		h.Add(s, 1, source.Published, when)
		s += 200
	}
}
