package source

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// slotwise is a ledger that keeps every slot and walks them one by one.
type slotwise struct {
	grid               Grid
	start, cursor, end Slot
	states             map[Slot]Outcome
	passed             []Outcome // by slot, from start on
	told               map[Slot]bool
}

func (m *slotwise) expects(s Slot) bool { return s >= m.start && s < m.end && s == m.grid.Floor(s) }

func (m *slotwise) pending(s Slot) bool { return m.states[s] == Pending || m.states[s] == taken }

func (m *slotwise) take(s Slot) bool {
	if !m.expects(s) || m.states[s] != Pending {
		return false
	}
	m.states[s] = taken
	return true
}

func (m *slotwise) resolve(s Slot, o Outcome) bool {
	if !m.expects(s) || !m.pending(s) {
		return false
	}
	m.states[s] = o
	for m.cursor < m.end && !m.pending(m.cursor) {
		m.passed = append(m.passed, m.states[m.cursor])
		m.cursor = m.grid.Step(m.cursor, 1)
	}
	return true
}

func (m *slotwise) giveUp(s Slot, o Outcome) bool { return m.states[s] != taken && m.resolve(s, o) }

func (m *slotwise) giveUpBefore(end Slot, o Outcome) int {
	n := 0
	for s := m.start; s < min(end, m.end); s = m.grid.Step(s, 1) {
		if m.giveUp(s, o) {
			n++
		}
	}
	return n
}

func (m *slotwise) wanted(from Slot) (Slot, bool) {
	for s := m.start; s < m.end; s = m.grid.Step(s, 1) {
		if s >= from && m.states[s] == Pending {
			return s, true
		}
	}
	return 0, false
}

// gap returns the gap that goes on at s, up to an end.
func (m *slotwise) gap(s, end Slot) Gap {
	g := Gap{From: s, Reason: m.states[s]}
	for ; s < end && m.states[s] == g.Reason; s = m.grid.Step(s, 1) {
		g.To = s
		g.Slots++
	}
	return g
}

func (m *slotwise) untold(s Slot) bool { return m.states[s].Lost() && !m.told[s] }

func (m *slotwise) nextGap() (Gap, bool) {
	for s := m.start; s < m.cursor; s = m.grid.Step(s, 1) {
		if m.untold(s) {
			return m.gap(s, m.cursor), true
		}
	}
	return Gap{}, false
}

func (m *slotwise) tell(g Gap) {
	for s := g.From; s <= g.To; s = m.grid.Step(s, 1) {
		m.told[s] = true
	}
}

func (m *slotwise) stats() Stats {
	st := Stats{Start: m.start, Cursor: m.cursor, Told: m.cursor}
	for s := m.start; s < m.end; s = m.grid.Step(s, 1) {
		st.Expected++
		if m.pending(s) {
			st.Pending++
			continue
		}
		o := m.states[s]
		st.Ended[o]++
		if !o.Lost() && o != Skipped {
			st.Newest = s
		}
		if s >= m.cursor || !o.Lost() {
			continue
		}
		st.GapTime[o] += m.grid.Interval()
		before := m.grid.Step(s, -1)
		for before >= m.start && m.states[before] == Skipped {
			before = m.grid.Step(before, -1)
		}
		if before < m.start || m.states[before] != o {
			st.Gaps[o]++
		}
		if m.untold(s) {
			st.Told = min(st.Told, s)
		}
	}
	return st
}

// FuzzLedger does to a ledger, and to one that walks slot by slot, what the input says:
// both must agree after each step.
func FuzzLedger(f *testing.F) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 2))
		ops := make([]byte, 600)
		for i := range ops {
			ops[i] = byte(rng.Uint32())
		}
		f.Add(ops)
	}
	f.Add([]byte{0, 50, 1, 3, 4, 20, 5, 0, 6, 0, 3, 3, 4, 90})
	f.Fuzz(func(t *testing.T, ops []byte) {
		const start = 1000
		l := NewLedger(testGrid(t), start)
		m := &slotwise{grid: l.Grid(), start: start, cursor: start, end: start, states: map[Slot]Outcome{}, told: map[Slot]bool{}}
		var passed []Outcome
		telling := Gap{From: start - 1}
		l.Watch(func(from Slot, n int, o Outcome) {
			if want := start + Slot(len(passed))*200; from != want || n < 1 {
				t.Fatalf("%d slots passed from %d, want from %d", n, from, want)
			}
			passed = append(passed, slices.Repeat([]Outcome{o}, n)...)
		})
		// The model's time is quadratic.
		for ops = ops[:min(len(ops), 600)]; len(ops) >= 2; ops = ops[2:] {
			// Near the cursor, so that it moves; some off the grid or out of bounds.
			s := m.cursor + Slot(ops[1]%64-4)*200 + Slot(ops[1]/250)
			o := Outcomes()[int(ops[0]/8)%len(Outcomes())]
			switch ops[0] % 8 {
			case 0:
				l.Extend(s)
				m.end = max(m.end, m.grid.Ceil(s))
			case 1:
				same(t, "Take", l.Take(s), m.take(s))
			case 2, 3:
				same(t, "Resolve", l.Resolve(s, o), m.resolve(s, o))
			case 4:
				same(t, "GiveUp", l.GiveUp(s, o), m.giveUp(s, o))
			case 5:
				same(t, "GiveUpBefore", l.GiveUpBefore(s, o), m.giveUpBefore(s, o))
			case 6:
				// The gap is as it was some steps ago, and may have grown since.
				if g, ok := m.nextGap(); ok && o.Lost() {
					telling = g
				} else {
					l.Told(telling)
					m.tell(telling)
				}
			case 7:
				got, ok := l.Wanted(s)
				want, wantOK := m.wanted(s)
				same(t, "Wanted", [2]any{got, ok}, [2]any{want, wantOK})
			}
			got, ok := l.NextGap()
			want, wantOK := m.nextGap()
			same(t, "NextGap", [2]any{got, ok}, [2]any{want, wantOK})
			if want, got := m.stats(), l.Stats(); want != got {
				t.Fatalf("stats (-want +got):\n%s", cmp.Diff(want, got))
			}
			if !slices.Equal(passed, m.passed) {
				t.Fatalf("passed %v, want %v", passed, m.passed)
			}
			checkRuns(t, l)
		}
	})
}

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// checkRuns checks what a ledger says of its runs.
func checkRuns(t *testing.T, l *Ledger) {
	t.Helper()
	from := l.cursor
	for i, r := range l.runs {
		if r.from != from || l.runEnd(i) <= from || i == 0 && r.ended() || i > 0 && r.state == l.runs[i-1].state {
			t.Fatalf("cursor %d, end %d, runs %v", l.cursor, l.end, l.runs)
		}
		from = l.runEnd(i)
	}
	if from != l.end {
		t.Fatalf("cursor %d, end %d, runs %v", l.cursor, l.end, l.runs)
	}
}
