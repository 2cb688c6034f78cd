package poll

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A visit is a time in which somebody wants the frames.
type visit struct{ from, to time.Duration }

func (v visit) has(at time.Duration) bool { return at >= v.from && at < v.to }

// resting runs a poller for so long, and returns the frames and the ledger.
func resting(t *testing.T, c *camera, length time.Duration, opts Options, visits ...visit) ([]source.Slot, *source.Ledger) {
	t.Helper()
	begin := time.Now()
	if opts.Wanted == nil {
		opts.Wanted = func(context.Context) (wanted, known bool) {
			at := time.Since(begin)
			return slices.ContainsFunc(visits, func(v visit) bool { return v.has(at) }), true
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	l := source.NewLedger(testGrid(t), source.SlotAt(begin))
	p := New(c, l, opts)
	var got []source.Slot
	for f, err := range p.Frames(ctx) {
		if err != nil {
			t.Error(err)
			continue
		}
		got = append(got, f.Slot)
		l.Resolve(f.Slot, source.Published)
	}
	st := l.Stats()
	sum := st.Pending
	for _, n := range st.Ended {
		sum += n
	}
	if sum != st.Expected {
		t.Errorf("the ledger does not add up: %+v", st)
	}
	return got, l
}

// TestNobodyWants: an hour without anybody costs nothing, and its slots end as unwatched.
func TestNobodyWants(t *testing.T) {
	for _, lookback := range []time.Duration{0, time.Minute, 2 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			c := &camera{fragment: 2 * time.Second, delay: always(time.Second)}
			got, l := resting(t, c, time.Hour, Options{Lag: Auto, Overlap: Auto, Linger: 10 * time.Second, Lookback: lookback})
			st := l.Stats()
			want := uint64(max(time.Hour-lookback, 0) / step)
			if c.requests != 0 || len(got) != 0 || st.Pending != 0 || st.Ended[source.Unwatched]+10 < want || st.Ended[source.Unwatched] > want+10 {
				t.Errorf("lookback %v: %d requests, %d frames, %+v; want %d unwatched", lookback, c.requests, len(got), st, want)
			}
		})
	}
}

// TestSomebodyComes: the frames begin at the time of looking back, each comes once, in order,
// until nobody has wanted any for the time of linger. Before and after nothing is asked for.
func TestSomebodyComes(t *testing.T) {
	const linger = 10 * time.Second
	for _, fragment := range []time.Duration{time.Second, 2 * time.Second, 9 * time.Second} {
		for _, lookback := range []time.Duration{0, 7 * time.Second, 10 * time.Minute} {
			for _, visits := range [][]visit{
				{{20 * time.Minute, 25 * time.Minute}},
				{{0, 5 * time.Minute}},
				{{11 * time.Minute, 12 * time.Minute}, {30 * time.Minute, 31 * time.Minute}},
				{{11 * time.Minute, 12 * time.Minute}, {12*time.Minute + 5*time.Second, 13 * time.Minute}},
			} {
				t.Run(fmt.Sprintf("%v fragments, %v back, %v", fragment, lookback, visits), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						c := &camera{fragment: fragment, delay: always(time.Second)}
						begin := source.SlotAt(time.Now())
						got, _ := resting(t, c, 40*time.Minute, Options{Lag: Auto, Overlap: Auto, Linger: linger, Lookback: lookback}, visits...)
						checkVisits(t, got, begin, fragment, lookback, linger, visits)
						total := time.Duration(0)
						for _, v := range visits {
							total += v.to - v.from + lookback + linger
						}
						if most := int(2.2 * float64(total/step)); c.asked > most {
							t.Errorf("%d images were asked for, for %v", c.asked, total)
						}
					})
				})
			}
		}
	}
}

// checkVisits checks that the frames of each visit came, and no others.
func checkVisits(t *testing.T, got []source.Slot, begin source.Slot, fragment, lookback, linger time.Duration, visits []visit) {
	t.Helper()
	came := map[source.Slot]bool{}
	for i, s := range got {
		if came[s] || i > 0 && s < got[i-1] {
			t.Fatalf("%v came twice, or out of order", s)
		}
		came[s] = true
	}
	const slack = 2 * time.Second // of the questions, once a second
	for s := begin; s < begin.Add(40*time.Minute); s = s.Add(step) {
		at := s.Sub(begin)
		must, may := false, false
		for _, v := range visits {
			first := max(v.from-lookback, 0)
			// The last fragments become visible after their end.
			must = must || at >= first+slack && at < v.to+linger-2*fragment-slack
			may = may || at >= first-slack && at < v.to+linger+slack
		}
		if must && !came[s] || !may && came[s] {
			t.Fatalf("%v after the begin: came %v, must %v, may %v", at, came[s], must, may)
		}
	}
}

// TestNobodyKnows: as long as it is not known whether anybody wants frames, none is given up,
// and what is not read yet is not asked for. If somebody turns out to have wanted them, all
// come; what is being read goes on.
func TestNobodyKnows(t *testing.T) {
	for _, dark := range []visit{{0, 5 * time.Minute}, {10 * time.Minute, 15 * time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			c := &camera{fragment: 2 * time.Second, delay: always(time.Second)}
			begin := time.Now()
			opts := Options{Lag: Auto, Overlap: Auto, Linger: 10 * time.Second}
			opts.Wanted = func(context.Context) (wanted, known bool) {
				is := dark.has(time.Since(begin))
				if is && dark.from == 0 && c.requests > 0 {
					t.Error("something is asked for although nobody is known to want it")
				}
				return !is, !is
			}
			got, l := resting(t, c, 20*time.Minute, opts)
			if st := l.Stats(); st.Ended[source.Unwatched] > 0 || len(got) < int(20*time.Minute/step)-50 {
				t.Errorf("%d frames, %+v", len(got), st)
			}
		})
	}
}

// TestUnreadableDoesNotRest: that a stream cannot be read is told, whether anybody wants it.
func TestUnreadableDoesNotRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, refused := time.Now(), errors.New("refused")
		p := New(&camera{fragment: time.Second}, source.NewLedger(testGrid(t), source.SlotAt(begin)), Options{
			Wanted: func(context.Context) (wanted, known bool) { return false, true },
			Check: func(context.Context) error {
				if time.Since(begin) < time.Minute {
					return refused
				}
				return nil
			},
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		failures := 0
		for _, err := range p.Frames(ctx) {
			if failures++; !errors.Is(err, refused) || p.State().Resting {
				t.Errorf("%v, resting %v", err, p.State().Resting)
			}
		}
		if failures == 0 || !p.State().Resting {
			t.Errorf("%d failures, and then resting %v", failures, p.State().Resting)
		}
	})
}

// TestRestEnds: a range ends although nobody has wanted it.
func TestRestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &camera{fragment: 2 * time.Second, delay: always(time.Second)}
		begin := time.Now()
		to := source.SlotAt(begin.Add(time.Minute))
		_, l := resting(t, c, time.Hour, Options{Lag: Auto, Overlap: Auto, To: to})
		if took := time.Since(begin); took > 2*time.Minute || l.Stats().Ended[source.Unwatched] != 300 {
			t.Errorf("after %v: %+v", took, l.Stats())
		}
	})
}

// TestRestWithoutATime: while the service's time is in doubt no slot ends.
func TestRestWithoutATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &camera{fragment: 2 * time.Second, delay: always(time.Second)}
		begin := time.Now()
		unsure := func() bool { return time.Since(begin) < 10*time.Minute }
		ahead := func() time.Time {
			if unsure() {
				return time.Now().Add(24 * time.Hour)
			}
			return time.Now()
		}
		_, l := resting(t, c, 20*time.Minute, Options{Lag: Auto, Overlap: Auto, Now: ahead, Unsure: unsure})
		if st := l.Stats(); st.Ended[source.Unwatched] > uint64(20*time.Minute/step)+10 || st.Ended[source.Unwatched] < uint64(20*time.Minute/step)-10 {
			t.Errorf("%+v", st)
		}
	})
}
