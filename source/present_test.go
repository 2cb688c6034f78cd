package source

import (
	"math/rand/v2"
	"testing"
	"time"
)

// hour is an hour of slots.
const hour = Slot(time.Hour / time.Millisecond)

// filled returns a ledger from 0 that has come to a time, with the slots before another
// published.
func filled(t *testing.T, published, now Slot) *Ledger {
	l := NewLedger(testGrid(t), 0)
	l.Follow(now, 0)
	for s := Slot(0); s < published; s += 200 {
		l.Take(s)
		l.Resolve(s, Published)
	}
	return l
}

func TestFollowForward(t *testing.T) {
	l := NewLedger(testGrid(t), 1000)
	for _, tc := range []struct {
		now, to Slot
		want    uint64
	}{{0, 0, 0}, {999, 0, 0}, {1000, 0, 1}, {1999, 0, 5}, {1500, 0, 5}, {2500, 2000, 5}, {2500, 2001, 6}, {hour, 3000, 10}} {
		l.Follow(tc.now, tc.to)
		if st := l.Stats(); st.Expected != tc.want || st.Pending != tc.want || st.Rewound != 0 {
			t.Errorf("at %d, to %d: %+v, want %d slots", tc.now, tc.to, st, tc.want)
		}
	}
}

// TestFollowBack: an hour ahead is taken back, and a few seconds are not.
func TestFollowBack(t *testing.T) {
	l := filled(t, 8000, 10000)
	l.Follow(5000, 0)
	if st := l.Stats(); st.Expected != 51 || st.Rewound != 0 {
		t.Errorf("five seconds back: %+v", st)
	}
	l.Follow(hour, 0)
	l.Follow(10000, 0)
	st := l.Stats()
	if st.Expected != 51 || st.Pending != 11 || st.Cursor != 8000 || st.Rewound != time.Hour-10*time.Second {
		t.Errorf("an hour back: %+v", st)
	}
}

// TestFollowBackOverGaps: slots that have not been yet did not end, whatever was said of
// them, and come again in their time. Nobody is told of them.
func TestFollowBackOverGaps(t *testing.T) {
	l := filled(t, 8000, hour)
	l.GiveUpBefore(hour-20000, NoMedia)
	l.Follow(10000, 0)
	st := l.Stats()
	if st.Cursor != 10200 || st.Pending != 0 || st.Newest != 7800 {
		t.Errorf("%+v", st)
	}
	if g, ok := l.NextGap(); !ok || g != (Gap{From: 8000, To: 10000, Slots: 11, Reason: NoMedia}) {
		t.Errorf("gap %+v", g)
	}
	l.Follow(12000, 0)
	if st := l.Stats(); st.Pending != 10 || st.Expected != st.Ended[Published]+st.Ended[NoMedia]+st.Pending {
		t.Errorf("later: %+v", st)
	}
	checkRuns(t, l)
}

// TestFollowBackKeepsPictures: a slot with a picture is not asked for twice.
func TestFollowBackKeepsPictures(t *testing.T) {
	l := filled(t, 8000, hour)
	l.Take(20000)
	l.Follow(10000, 0)
	if s, ok := l.Wanted(8000); !ok || s != 8000 {
		t.Errorf("wanted %d, %v", s, ok)
	}
	if l.End() != 20200 || l.Take(20000) || !l.Resolve(20000, Published) {
		t.Errorf("the ledger ends at %d", l.End())
	}
	l.Follow(9000, 0)
	if st := l.Stats(); l.End() != 20200 || st.Pending != 60 || st.Newest != 20000 {
		t.Errorf("ends at %d: %+v", l.End(), st)
	}
	checkRuns(t, l)
}

// TestFollowBackToTheStart: a beginning that was asked for stays, and one that was the
// present goes back with it.
func TestFollowBackToTheStart(t *testing.T) {
	l := NewLedger(testGrid(t), hour)
	l.Follow(hour+20000, 0)
	l.Follow(10000, 0)
	if st := l.Stats(); st.Start != hour || st.Expected != 0 || l.End() != hour {
		t.Errorf("%+v", st)
	}
	if !l.Begin(2 * hour) {
		t.Error("it cannot begin elsewhere")
	}
	l.Follow(10000, 0)
	if st := l.Stats(); st.Start != 10200 || st.Expected != 0 || st.Cursor != 10200 {
		t.Errorf("%+v", st)
	}
}

func TestBegin(t *testing.T) {
	for name, tc := range map[string]struct {
		do func(*Ledger)
		ok bool
	}{
		"nothing":         {func(*Ledger) {}, true},
		"expected":        {func(l *Ledger) { l.Follow(2*hour, 0) }, true},
		"taken":           {func(l *Ledger) { l.Follow(2*hour, 0); l.Take(hour + 200) }, false},
		"given up":        {func(l *Ledger) { l.Follow(2*hour, 0); l.GiveUp(hour, NoMedia) }, false},
		"given up before": {func(l *Ledger) { l.Follow(hour+2000, 0); l.GiveUpBefore(2*hour, Stale) }, false},
	} {
		for _, start := range []Slot{1, 3 * hour} {
			l := NewLedger(testGrid(t), hour)
			tc.do(l)
			before := l.Stats()
			if got := l.Begin(start); got != tc.ok {
				t.Errorf("%s: %v, want %v", name, got, tc.ok)
			}
			want := Stats{Start: l.grid.Ceil(start), Cursor: l.grid.Ceil(start), Told: l.grid.Ceil(start)}
			if start < hour {
				want.Rewound, want.Rewinds = time.Hour-step, 1
			}
			if !tc.ok {
				want = before
			}
			if st := l.Stats(); st != want {
				t.Errorf("%s: %+v, want %+v", name, st, want)
			}
		}
	}
}

// TestFollowAtRandom: whatever the clock does, each slot has at most one picture, none is
// taken back, and the sums are right.
func TestFollowAtRandom(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 3))
		l := NewLedger(testGrid(t), 0)
		l.Begin(0)
		took, published := map[Slot]bool{}, map[Slot]bool{}
		now := Slot(0)
		for range 400 {
			s := now + Slot(rng.IntN(200)-150)*200
			switch rng.IntN(8) {
			case 0:
				now = max(0, now+Slot(rng.IntN(60000)-30000))
			case 1, 2, 3:
				if l.Take(s) {
					if took[s] {
						t.Fatalf("seed %d: %d was taken twice", seed, s)
					}
					took[s] = true
				}
			case 4:
				if took[s] && !published[s] && !l.Resolve(s, Published) {
					t.Fatalf("seed %d: %d was taken and cannot be resolved", seed, s)
				}
				published[s] = published[s] || took[s]
			case 5:
				l.GiveUp(s, NoMedia)
			case 6:
				l.GiveUpBefore(s, NoMedia)
			case 7:
				if g, ok := l.NextGap(); ok {
					l.Told(g)
				}
			}
			l.Follow(now, 0)
			checkRuns(t, l)
			st := l.Stats()
			if sum := st.Ended[Published] + st.Ended[NoMedia] + st.Pending; st.Expected != sum || st.Told > st.Cursor || st.Start > st.Cursor {
				t.Fatalf("seed %d: %+v", seed, st)
			}
			if l.End() <= now || l.End() > max(now+20000, lastOf(took)+400) {
				t.Fatalf("seed %d: at %d the ledger ends at %d", seed, now, l.End())
			}
		}
	}
}

func lastOf(slots map[Slot]bool) (last Slot) {
	for s := range slots {
		last = max(last, s)
	}
	return last
}
