package kinesis_test

import (
	"cmp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// A wrongClock is a camera whose clock is behind the service's, or ahead where negative,
// and is perhaps set while it is polled.
type wrongClock struct {
	behind                    time.Duration
	set                       []kinesistest.ClockSetting // At is the time since the epoch after the test began
	since                     time.Duration              // the camera was switched on, after the begin of the test; 0 is long ago
	off                       time.Duration              // it is switched off for so long at the first setting
	denied                    bool                       // fragments may not be listed
	faults                    kinesistest.Faults
	fragment, delay, interval time.Duration // 2 s, 1.5 s and 200 ms unless set
	length                    time.Duration // of the test, 20 min unless set
}

// TestCameraClocks polls streams by the clocks of their cameras, and compares what arrived
// with what was there in time.
func TestCameraClocks(t *testing.T) {
	const s, m, h = time.Second, time.Minute, time.Hour
	at := func(after, behind time.Duration) []kinesistest.ClockSetting {
		return []kinesistest.ClockSetting{{At: time.Unix(0, 0).Add(after), Behind: behind}}
	}
	for name, w := range map[string]wrongClock{
		"right":                 {},
		"5 s behind":            {behind: 5 * s},
		"12 s behind":           {behind: 12 * s},
		"30 s behind":           {behind: 30 * s},
		"90 s behind":           {behind: 90 * s},
		"1 h behind":            {behind: h},
		"26 h behind":           {behind: 26 * h},
		"20 s ahead":            {behind: -20 * s},
		"10 min ahead":          {behind: -10 * m},
		"3 h ahead":             {behind: -3 * h},
		"on after 2 min":        {behind: 40 * m, since: 2 * m},
		"set 60 s ahead":        {set: at(7*m, -60*s)},
		"set 60 s back":         {set: at(7*m, 60*s)},
		"set 1 h ahead":         {behind: h, set: at(7*m, 0)},
		"set 1 h back":          {set: at(7*m, h), length: 90 * m},
		"set 1 min back, twice": {set: append(at(4*m, m), at(8*m, 2*m)...)},
		"set 4 s back":          {set: at(7*m, 4*s)},
		"off, then 1 h ahead":   {set: at(7*m, -h), off: 5 * m},
	} {
		for _, denied := range []bool{false, true} {
			name, w := name, w
			if w.denied = denied; denied {
				name += ", not listed"
			}
			t.Run(name, func(t *testing.T) {
				sample(t)
				synctest.Test(t, func(t *testing.T) { w.run(t) })
			})
		}
	}
}

func (w wrongClock) run(t *testing.T) {
	length := max(w.length, 20*time.Minute)
	begin := time.Now()
	w.faults.Behind = w.behind
	w.faults.DenyListFragments = w.denied
	camera := kinesistest.Stream{Name: "cam-1", Retention: 48 * time.Hour}
	if w.since != 0 {
		camera.Since = begin.Add(w.since)
	}
	last := w.behind
	for _, set := range w.set {
		set.At = begin.Add(set.At.Sub(time.Unix(0, 0)))
		camera.Clock = append(camera.Clock, set)
		if w.off != 0 {
			camera.Outages = append(camera.Outages, kinesistest.Interval{From: set.At.Add(-w.off), To: set.At})
		}
		last = set.Behind
	}
	srv := serve(t, kinesistest.Options{
		Streams: []kinesistest.Stream{camera}, Fragment: w.fragment, Delay: cmp.Or(w.delay, 1500*time.Millisecond), Faults: w.faults,
	}, kinesis.Options{})
	grid, err := source.NewGrid(cmp.Or(w.interval, source.MinInterval))
	if err != nil {
		t.Fatal(err)
	}
	ledger := source.NewLedger(grid, source.SlotAt(begin))
	end := begin.Add(length - last)
	poller := poll.New(srv.client.Stream(kinesis.StreamOptions{Name: "cam-1", Producer: true}), ledger, poll.Options{
		Lag: poll.Auto, Overlap: poll.Auto, Grace: 10 * time.Second, FromNow: true, To: source.SlotAt(end),
	})
	arrived := map[source.Slot]time.Time{}
	var newest source.Slot
	for f, err := range poller.Frames(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if f.Slot <= newest {
			t.Fatalf("slot %v came after %v", f.Slot, newest)
		}
		newest = f.Slot
		arrived[f.Slot] = time.Now()
		ledger.Resolve(f.Slot, source.Published)
	}
	st := ledger.Stats()
	if st.Start != source.SlotAt(begin.Add(-w.behind)) && w.since == 0 && (w.behind-time.Since(begin)).Abs() > 0 {
		t.Logf("the ledger began at %v, %v before the camera's time", st.Start, source.SlotAt(begin.Add(-w.behind)).Sub(st.Start))
	}
	truth, err := srv.ProducerMedia("cam-1", st.Start.Time(), end, grid.Interval())
	if err != nil {
		t.Fatal(err)
	}
	missing, late := 0, time.Duration(0)
	var ages []time.Duration
	for _, at := range truth {
		came, here := arrived[source.SlotAt(at.Time)]
		switch {
		case at.Exists && !here:
			if missing++; missing <= 3 {
				t.Errorf("%v is missing, visible at %v", at.Time.Sub(begin), at.Visible.Sub(begin))
			}
		case here:
			late = max(late, came.Sub(at.Visible))
			ages = append(ages, came.Sub(at.Visible))
		}
	}
	slices.Sort(ages)
	ages = append(ages, 0)
	total := srv.Totals()["cam-1"]
	cost := float64(total.Answered) / float64(max(len(arrived), 1))
	t.Logf("%d of %d arrived, %.2f images for each (%d made), median %v after visible, most %v; trail %v, want %v; %v; over after %v", len(arrived), len(truth), cost, total.Made,
		ages[len(ages)/2], late, poller.State().Trail, last, st.Ended, time.Since(begin))
	if missing > 0 {
		t.Errorf("%d are missing", missing)
	}
	if off := (poller.State().Trail - last).Abs(); off > 4*time.Second {
		t.Errorf("the trail is off by %v", off)
	}
}
