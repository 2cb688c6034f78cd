package poll

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A stage is a time from which on slots are asked for at another pace.
type stage struct{ from, pace time.Duration }

func paceAt(stages []stage, at time.Duration) time.Duration {
	pace := time.Duration(0)
	for _, s := range stages {
		if at >= s.from {
			pace = s.pace
		}
	}
	return pace
}

// A watched camera knows which windows it was asked for when.
type watched struct {
	camera
	begin time.Time
	asks  []ask
}

type ask struct {
	at time.Duration
	Window
}

func (c *watched) Images(ctx context.Context, w Window) iter.Seq2[Image, error] {
	c.asks = append(c.asks, ask{time.Since(c.begin), w})
	return c.camera.Images(ctx, w)
}

// images counts those asked for from one time to another.
func (c *watched) images(from, to time.Duration) (n int) {
	for _, a := range c.asks {
		if a.at >= from && a.at < to {
			n += a.Slots()
		}
	}
	return n
}

// paceThrough runs a poller whose pace changes, and returns the frames and the ledger.
func paceThrough(t *testing.T, c *watched, length time.Duration, opts Options, stages []stage) ([]source.Slot, *source.Ledger) {
	t.Helper()
	c.begin = time.Now()
	opts.Lag, opts.Overlap = Auto, Auto
	opts.Pace = func() time.Duration { return paceAt(stages, time.Since(c.begin)) }
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	l := source.NewLedger(testGrid(t), source.SlotAt(c.begin))
	p := New(c, l, opts)
	var got []source.Slot
	for f, err := range p.Frames(ctx) {
		if err != nil {
			t.Error(err)
			continue
		}
		if len(got) > 0 && f.Slot <= got[len(got)-1] {
			t.Fatalf("%v came after %v", f.Slot, got[len(got)-1])
		}
		got = append(got, f.Slot)
		if !l.Resolve(f.Slot, source.Published) {
			t.Errorf("%v had ended already", f.Slot)
		}
		st := l.Stats()
		sum := st.Pending
		for _, n := range st.Ended {
			sum += n
		}
		if sum != st.Expected {
			t.Fatalf("the ledger does not add up: %+v", st)
		}
	}
	return got, l
}

// TestPace: at each pace the slots of it come, each once and in order, and the others are
// skipped, not lost. A wide pace costs as few images as it should, and a negative one none.
// When the pace becomes finer, it begins with the slots whose media is not there yet.
func TestPace(t *testing.T) {
	const length = 40 * time.Minute
	for name, stages := range map[string][]stage{
		"wide, and back":  {{10 * time.Minute, 2 * time.Second}, {30 * time.Minute, 0}},
		"from the start":  {{0, 5 * time.Second}, {20 * time.Minute, step}},
		"none, and back":  {{10 * time.Minute, -1}, {30 * time.Minute, 0}},
		"not a multiple":  {{10 * time.Minute, 950 * time.Millisecond}},
		"wider and wider": {{5 * time.Minute, time.Second}, {10 * time.Minute, 4 * time.Second}, {20 * time.Minute, -1}, {21 * time.Minute, 4 * time.Second}, {30 * time.Minute, time.Second}},
		"often back and forth": {
			{5 * time.Minute, 2 * time.Second},
			{6 * time.Minute, 0},
			{7 * time.Minute, 2 * time.Second},
			{7*time.Minute + 10*time.Second, 0},
			{8 * time.Minute, 3 * time.Second},
			{9 * time.Minute, 5 * time.Second},
			{10 * time.Minute, 0},
			{11 * time.Minute, 2 * time.Second},
			{12 * time.Minute, 0},
		},
	} {
		for _, fragment := range []time.Duration{time.Second, 2 * time.Second, 9 * time.Second} {
			t.Run(fmt.Sprintf("%s, fragments of %v", name, fragment), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := &watched{camera: camera{fragment: fragment, delay: always(time.Second)}}
					got, l := paceThrough(t, c, length, Options{}, stages)
					checkPaces(t, c, got, l, stages, fragment, length)
				})
			})
		}
	}
}

func checkPaces(t *testing.T, c *watched, got []source.Slot, l *source.Ledger, stages []stage, fragment, length time.Duration) {
	t.Helper()
	st := l.Stats()
	if lost := st.Expected - st.Pending - st.Ended[source.Published] - st.Ended[source.Skipped]; lost != 0 {
		t.Errorf("%d slots are lost: %+v", lost, st)
	}
	if int(st.Ended[source.Published]) != len(got) {
		t.Errorf("%d frames, %+v", len(got), st)
	}
	came := map[source.Slot]bool{}
	for _, s := range got {
		came[s] = true
	}
	begin := source.SlotAt(c.begin)
	late := 2*fragment + 3*time.Second // until a slot's media is asked for
	const widest = 5 * time.Second     // until one that is left out ends
	for s := begin; s < begin.Add(length-late); s = s.Add(step) {
		at := s.Sub(begin)
		// The paces at which the slot may have been asked for.
		must, may := true, false
		for d := time.Duration(0); d <= late+widest; d += step {
			pace := paceAt(stages, at+d)
			wide := max(roundUp(pace, step), step)
			on := pace >= 0 && s.Sub(0)%wide == 0
			must, may = must && on, may || on
		}
		if must && !came[s] || !may && came[s] {
			t.Fatalf("%v after the begin: came %v, must %v, may %v", at, came[s], must, may)
		}
	}
	for i, s := range stages {
		end := length
		if i+1 < len(stages) {
			end = stages[i+1].from
		}
		from := s.from + 2*time.Second
		n := c.images(from, end)
		if s.pace < 0 && n > 0 {
			t.Errorf("%d images were asked for from %v to %v", n, from, end)
		}
		if s.pace <= step {
			continue
		}
		// What a stream of that interval costs, and what it takes to begin anew.
		if most := alone(t, s.pace, fragment, end-from)*5/4 + 30; n > most {
			t.Errorf("at a pace of %v %d images were asked for from %v to %v, want at most %d", s.pace, n, from, end, most)
		}
		t.Logf("pace %v from %v to %v: %d images", s.pace, from, end, n)
	}
}

// alone returns how many images a stream costs that has an interval of its own.
func alone(t *testing.T, interval, fragment, length time.Duration) int {
	t.Helper()
	grid, err := source.NewGrid(roundUp(interval, step))
	if err != nil {
		t.Fatal(err)
	}
	c := &watched{camera: camera{fragment: fragment, delay: always(time.Second)}, begin: time.Now()}
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	for _, err := range New(c, source.NewLedger(grid, source.SlotAt(c.begin)), auto()).Frames(ctx) {
		if err != nil {
			t.Error(err)
		}
	}
	return c.images(0, length)
}

// TestPaceBecomesFiner: slots that have not ended are asked for at once.
func TestPaceBecomesFiner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &watched{camera: camera{fragment: 2 * time.Second, delay: always(time.Second)}}
		const back = 10*time.Minute + 700*time.Millisecond
		stages := []stage{{time.Minute, 10 * time.Second}, {back, 0}}
		got, _ := paceThrough(t, c, 11*time.Minute, Options{}, stages)
		begin, came := source.SlotAt(c.begin), map[time.Duration]bool{}
		for _, s := range got {
			came[s.Sub(begin)] = true
		}
		// The last slot of the wide pace is of ten minutes at most.
		for at := 10*time.Minute + step; at < 10*time.Minute+50*time.Second; at += step {
			if !came[at] {
				t.Fatalf("no frame of %v", at)
			}
		}
		for _, a := range c.asks {
			if a.at >= back {
				if a.at > back+1100*time.Millisecond || a.Interval != step {
					t.Errorf("the first window was asked for %v after the pace became finer, at %v", a.at-back, a.Interval)
				}
				return
			}
		}
	})
}

// TestPaceOfARange: a range ends at every pace, with all its slots.
func TestPaceOfARange(t *testing.T) {
	for _, pace := range []time.Duration{0, 7 * time.Second, -1} {
		for _, length := range []time.Duration{time.Minute, time.Minute + step, 3 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				c := &watched{camera: camera{fragment: 2 * time.Second, delay: always(time.Second)}}
				to := source.SlotAt(time.Now().Add(length))
				_, l := paceThrough(t, c, time.Hour, Options{To: to}, []stage{{0, pace}})
				st := l.Stats()
				if st.Pending != 0 || st.Expected != uint64(length/step) || time.Since(c.begin) > length+time.Minute {
					t.Errorf("pace %v, %v: after %v %+v", pace, length, time.Since(c.begin), st)
				}
				if lost := st.Expected - st.Ended[source.Published] - st.Ended[source.Skipped]; lost != 0 {
					t.Errorf("pace %v, %v: %d lost", pace, length, lost)
				}
			})
		}
	}
}

// TestPaceIsNotStale: what is left out is not stale, however late the slots of the pace come.
func TestPaceIsNotStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &watched{camera: camera{fragment: 2 * time.Second, delay: always(time.Second)}}
		_, l := paceThrough(t, c, 10*time.Minute, Options{Freshness: 8 * time.Second}, []stage{{time.Minute, 20 * time.Second}})
		if st := l.Stats(); st.Ended[source.Stale] != 0 || st.Ended[source.Skipped] < 2500 {
			t.Errorf("%+v", st)
		}
	})
}

// TestPaceIsTold: the state tells the pace, and that nothing is asked for.
func TestPaceIsTold(t *testing.T) {
	for pace, want := range map[time.Duration]time.Duration{0: 0, step: 0, 300 * time.Millisecond: 2 * step, time.Hour: source.MaxInterval, -time.Second: -1} {
		synctest.Test(t, func(t *testing.T) {
			p := New(&camera{fragment: time.Second, delay: always(0)}, source.NewLedger(testGrid(t), source.SlotAt(time.Now())), Options{
				Lag: Auto, Overlap: Auto, Pace: func() time.Duration { return pace },
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for _, err := range p.Frames(ctx) {
				if err != nil {
					t.Error(err)
				}
			}
			if got := p.State(); got.Pace != want || got.Resting {
				t.Errorf("%v: told %v, resting %v", pace, got.Pace, got.Resting)
			}
		})
	}
}
