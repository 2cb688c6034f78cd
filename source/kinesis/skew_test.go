package kinesis_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// jumps is a service's clock that is off by a time from one instant on, for a while.
func jumps(by, after, length time.Duration) func() time.Time {
	begin := time.Now()
	return func() time.Time {
		now := time.Now()
		if at := now.Sub(begin); at >= after && at < after+length {
			return now.Add(by)
		}
		return now
	}
}

// TestTheServicesTime polls services whose clocks are not the host's. Each slot arrives, once
// and in order, at no higher cost and no older than if the clocks agreed.
func TestTheServicesTime(t *testing.T) {
	const length = 10 * time.Minute
	usual := 0.0 // images for each slot, where the clocks agree
	for _, tc := range []struct {
		name   string
		faults kinesistest.Faults
		now    func() func() time.Time // makes the service's clock
		warns  int
		moves  bool // the service's clock is not always right, so frames may be late
	}{
		{name: "the same"},
		{name: "host 40 s ahead", faults: kinesistest.Faults{Skew: -40 * time.Second}, warns: 1},
		{name: "host 10 min ahead", faults: kinesistest.Faults{Skew: -10 * time.Minute}, warns: 1},
		{name: "host 40 s behind", faults: kinesistest.Faults{Skew: 40 * time.Second}, warns: 1},
		{name: "host 10 min behind", faults: kinesistest.Faults{Skew: 10 * time.Minute}, warns: 1},
		{name: "host years behind", faults: kinesistest.Faults{Skew: 900 * time.Hour}, warns: 1},
		{name: "100 ppm", faults: kinesistest.Faults{SkewDrift: 1e-4}},
		{name: "1%", faults: kinesistest.Faults{SkewDrift: 1e-2}, warns: 5, moves: true},
		{name: "a minute for 10 s", now: func() func() time.Time { return jumps(time.Minute, 2*time.Minute, 10*time.Second) }, moves: true},
		{name: "an hour for 20 s", now: func() func() time.Time { return jumps(time.Hour, 2*time.Minute, 20*time.Second) }, moves: true},
		{name: "a day for 50 s", now: func() func() time.Time { return jumps(24*time.Hour, 2*time.Minute, 50*time.Second) }, moves: true},
		{name: "an hour back for 20 s", now: func() func() time.Time { return jumps(-time.Hour, 2*time.Minute, 20*time.Second) }, moves: true, warns: 1},
		{name: "a minute back for 3 min", now: func() func() time.Time { return jumps(-time.Minute, 2*time.Minute, 3*time.Minute) }, moves: true, warns: 1},
		{name: "an hour for 2 min", now: func() func() time.Time { return jumps(time.Hour, 2*time.Minute, 2*time.Minute) }, moves: true, warns: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.name != "the same" {
				sample(t)
			}
			synctest.Test(t, func(t *testing.T) {
				opts := kinesistest.Options{Faults: tc.faults}
				if tc.now != nil {
					opts.Now = tc.now()
				}
				var log bytes.Buffer
				s := serve(t, opts, kinesis.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
				paid, oldest := pollSkewed(t, s, length)
				if tc.name == "the same" {
					usual = paid
				}
				t.Logf("%.2f images for each slot, the oldest frame was %v old", paid, oldest)
				if paid > usual*1.1 && !tc.moves {
					t.Errorf("%.2f images for each slot, %.2f where the clocks agree", paid, usual)
				}
				if oldest > 15*time.Second && !tc.moves {
					t.Errorf("the oldest frame was %v old", oldest)
				}
				// How often a drift is told depends on when answers come.
				drifts := tc.faults.SkewDrift > 1e-3
				if n := strings.Count(log.String(), "host's clock is"); n > tc.warns || n < tc.warns && !(drifts && n >= tc.warns/2) {
					t.Errorf("warned %d times, want %d:\n%s", n, tc.warns, log.String())
				}
			})
		})
	}
}

// pollSkewed polls cam-1 for a time by the service's clock. It returns how many images were
// paid for each slot, and the age of the oldest frame when it came.
func pollSkewed(t *testing.T, s *service, length time.Duration) (paid float64, oldest time.Duration) {
	t.Helper()
	stream := s.stream("cam-1")
	if err := stream.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	grid, err := source.NewGrid(source.MinInterval)
	if err != nil {
		t.Fatal(err)
	}
	begin := grid.Ceil(source.SlotAt(s.client.Now()))
	l := source.NewLedger(grid, begin)
	poller := poll.New(stream, l, poll.Options{
		Stream: "cam-1", Lag: poll.Auto, Overlap: poll.Auto, To: begin.Add(length), Now: s.client.Now, Unsure: s.client.Unsure,
		Check: stream.Check, Retention: stream.Retention,
	})
	next := begin
	for f, err := range poller.Frames(t.Context()) {
		if err != nil {
			continue // a jump may put the window outside of the retention
		}
		if f.Slot != next {
			t.Errorf("slot %v came, want %v", f.Slot, next)
		}
		next = grid.Step(f.Slot, 1)
		oldest = max(oldest, s.Now().Sub(f.Slot.Time()))
		l.Resolve(f.Slot, source.Published)
	}
	if st := l.Stats(); st.Ended[source.Published] != uint64(length/source.MinInterval) || st.Pending != 0 {
		t.Errorf("%+v", st)
	}
	return float64(s.Totals()["cam-1"].Answered) / float64(length/source.MinInterval), oldest
}
