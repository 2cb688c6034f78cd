package source

import "testing"

// TestNobodyLacks: a slot that nobody lacks is no gap, and its frame counts as the newest.
func TestNobodyLacks(t *testing.T) {
	for o, name := range map[Outcome]string{Published: "published", Unwatched: "unwatched", Unchanged: "unchanged"} {
		l := NewLedger(testGrid(t), 1000)
		l.Extend(1200)
		l.Resolve(1000, o)
		st := l.Stats()
		if _, gap := l.NextGap(); gap || o.Lost() || o.String() != name || st.Newest != 1000 || st.Told != 1200 || st.Ended[o] != 1 {
			t.Errorf("%v: lost %v, gap %v, %+v", o, o.Lost(), gap, st)
		}
	}
}
