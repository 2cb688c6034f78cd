package bursts

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// TestStages: the parts of a range follow each other without a hole, the first has what should be
// visible, none after the second is shorter than half a stage, and each is read when it should
// be visible.
func TestStages(t *testing.T) {
	const interval = 200 * time.Millisecond
	for _, fragment := range []time.Duration{0, time.Second, 10 * time.Second} {
		for _, visible := range []time.Duration{0, 3 * time.Second, 11100 * time.Millisecond} {
			for _, begin := range []time.Duration{-time.Hour, -20 * time.Second, -5 * time.Second, -100 * time.Millisecond, 0, 30 * time.Second} {
				for _, length := range []time.Duration{interval, 3 * time.Second, 15 * time.Second, time.Minute} {
					synctest.Test(t, func(t *testing.T) {
						checkStages(t, Stages{
							Now:     func() source.Slot { return source.SlotAt(time.Now()) },
							Visible: visible, Fragment: fragment,
						}, begin, length)
					})
				}
			}
		}
	}
}

func checkStages(t *testing.T, s Stages, begin, length time.Duration) {
	const interval = 200 * time.Millisecond
	grid, err := source.NewGrid(interval)
	if err != nil {
		t.Fatal(err)
	}
	now := s.Now()
	from := grid.Ceil(now.Add(begin))
	r := Range{Burst: "b", Stream: "cam", Interval: interval, From: from, To: from.Add(length)}
	parts, err := s.Split(r)
	if err != nil {
		t.Fatal(err)
	}
	next, visible := r.From, now.Add(-s.visible())
	var readings []Reading
	for i, p := range parts {
		if p.From != next || p.To <= p.From || p.Burst != "b" || p.Stream != "cam" || p.Interval != interval {
			t.Fatalf("%+v of %+v", p, parts)
		}
		if i > 1 && p.To.Sub(p.From) < max(stageTime, 2*s.Fragment)/2 {
			t.Errorf("%+v is short: %+v", p, parts)
		}
		if i > 0 && p.From.Add(interval) < visible {
			t.Errorf("%+v should be visible at %v and is read later", p, now)
		}
		next = p.To
		readings = append(readings, &timed{reading{Range: p, ledger: source.NewLedger(grid, p.From)}, s, t})
	}
	if next != r.To {
		t.Errorf("the parts end at %v, not %v", next, r.To)
	}
	all := s.Read(parts, readings)
	if err := all.Run(t.Context()); err != nil {
		t.Error(err)
	}
	if st := all.Stats(); st.Expected != uint64(length/interval) || st.Ended[source.Published] != st.Expected {
		t.Errorf("%+v", st)
	}
}

// A timed reading checks when it is read.
type timed struct {
	reading
	stages Stages
	t      *testing.T
}

func (r *timed) Run(ctx context.Context) error {
	now, visible := r.stages.Now(), r.To.Add(r.stages.visible())
	if now < visible {
		r.t.Errorf("%v is read %v before it should be visible", r.From, visible.Sub(now))
	}
	return r.reading.Run(ctx)
}

// TestStagesEnd: those that wait for their media end with the context.
func TestStagesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Stages{Now: func() source.Slot { return source.SlotAt(time.Now()) }}
		grid, err := source.NewGrid(time.Second)
		if err != nil {
			t.Fatal(err)
		}
		r := Range{Interval: time.Second, From: s.Now(), To: s.Now().Add(time.Minute)}
		parts, err := s.Split(r)
		if err != nil {
			t.Fatal(err)
		}
		var readings []Reading
		for _, p := range parts {
			readings = append(readings, &reading{Range: p, ledger: source.NewLedger(grid, p.From)})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		begin, all := time.Now(), s.Read(parts, readings)
		if err := all.Run(ctx); err == nil || time.Since(begin) != 12*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if st := all.Stats(); st.Expected == 0 || st.Expected > 10 || st.Ended[source.Published] != st.Expected {
			t.Errorf("%+v", st)
		}
	})
}
