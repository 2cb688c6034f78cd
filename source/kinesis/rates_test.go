package kinesis_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// A pace is a camera, the options of a poller, and what came of polling it.
type pace struct {
	camera   kinesistest.Stream
	interval time.Duration
	opts     poll.Options
	length   time.Duration // default: 20 minutes

	// From warmUp on: by how much the latest frame came after its fragment was visible and
	// the slot old enough, how old frames were on average, and how many images were asked
	// for and made for each slot.
	latest, age time.Duration
	asked, made float64
	lag         time.Duration // in the end
}

const warmUp = 4 * time.Minute

// run polls the camera, and compares what arrived with what there was.
func (p *pace) run(t *testing.T) {
	t.Helper()
	p.camera.Name = "cam-1"
	if p.length == 0 {
		p.length = 20 * time.Minute
	}
	begin := time.Now()
	end := begin.Add(p.length)
	s := serve(t, kinesistest.Options{Streams: []kinesistest.Stream{p.camera}, Seed: 1, Observe: func(r kinesistest.Request) {
		if r.Operation == "GetImages" && r.End.After(r.Time.Add(time.Millisecond-p.opts.Lag)) && p.opts.Lag != poll.Auto {
			t.Errorf("at %v it asked for %v", r.Time.Sub(begin), r.End.Sub(begin))
		}
	}}, kinesis.Options{})
	grid, err := source.NewGrid(p.interval)
	if err != nil {
		t.Fatal(err)
	}
	p.opts.To = source.SlotAt(end)
	ledger := source.NewLedger(grid, source.SlotAt(begin))
	poller := poll.New(s.stream("cam-1"), ledger, p.opts)
	arrived := map[source.Slot]time.Time{}
	last := source.Slot(0)
	var before kinesistest.Total
	for f, err := range poller.Frames(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if f.Slot <= last {
			t.Errorf("slot %v came after %v", f.Slot, last)
		}
		if f.Slot.Time().Sub(begin) <= warmUp {
			before = s.Totals()["cam-1"]
		}
		last = f.Slot
		arrived[f.Slot] = time.Now()
		ledger.Resolve(f.Slot, source.Published)
	}
	truth, err := s.Media("cam-1", begin, end, p.interval)
	if err != nil {
		t.Fatal(err)
	}
	p.compare(t, begin, truth, arrived)
	if st := ledger.Stats(); st.Pending != 0 || int(st.Expected) != len(truth) || int(st.Ended[source.Published]) != len(arrived) {
		t.Errorf("%d slots, %d arrived, the ledger has %+v", len(truth), len(arrived), st)
	}
	total, slots := s.Totals()["cam-1"], float64((p.length-warmUp)/p.interval)
	p.asked, p.made = float64(total.Asked-before.Asked)/slots, float64(total.Made-before.Made)/slots
	p.lag = poller.State().Lag
	t.Logf("%d of %d slots published; for each slot %.2f images asked, %.2f made; at most %v late, %v old, lag %v",
		len(arrived), len(truth), p.asked, p.made, p.latest, p.age, p.lag)
}

// compare compares what arrived with what there was.
func (p *pace) compare(t *testing.T, begin time.Time, truth []kinesistest.Instant, arrived map[source.Slot]time.Time) {
	t.Helper()
	missing, n := 0, 0
	for _, at := range truth[:len(truth)-1] { // the service may give the last frame for the slot after it
		when, here := arrived[source.SlotAt(at.Time)]
		inTime := at.Exists && !at.Visible.IsZero() && !at.Visible.After(at.Time.Add(poll.DefaultGrace))
		switch {
		case inTime && !here:
			if missing++; missing <= 3 {
				t.Errorf("%v of the fragment %v to %v did not arrive", at.Time.Sub(begin), at.Start.Sub(begin), at.End.Sub(begin))
			}
		case here && !at.Exists:
			t.Errorf("%v arrived, and never was", at.Time.Sub(begin))
		case inTime && at.Time.Sub(begin) > warmUp:
			due := at.Visible
			if old := at.Time.Add(max(p.opts.Lag, 0)); old.After(due) {
				due = old
			}
			p.latest = max(p.latest, when.Sub(due))
			p.age += when.Sub(at.Time)
			n++
		}
	}
	p.age /= time.Duration(max(n, 1))
}

// The ways in which a service may answer for slots between two frames.
var between = map[string]func(*kinesistest.Faults){
	"repeated":                func(*kinesistest.Faults) {},
	"by the frames' times":    func(f *kinesistest.Faults) { f.FrameTimes = true },
	"no media between":        func(f *kinesistest.Faults) { f.FrameGaps = true },
	"bare entries between":    func(f *kinesistest.Faults) { f.FrameGaps, f.BareEntries = true, true },
	"no media, frames' times": func(f *kinesistest.Faults) { f.FrameTimes, f.FrameGaps = true, true },
}

// TestPollSlowCameras: a frame that comes seldom is not late because the slots before it
// have none, whatever the service says of these.
func TestPollSlowCameras(t *testing.T) {
	const ms, sec = time.Millisecond, time.Second
	for name, tc := range map[string]struct {
		interval, fragment time.Duration
		faults             kinesistest.Faults
		asked              float64 // images for each slot, at most
	}{
		"2s at 1s":                 {sec, 2 * sec, kinesistest.Faults{FrameEvery: 2 * sec}, 1.8},
		"2s at 1s, two a fragment": {sec, 4 * sec, kinesistest.Faults{FrameEvery: 2 * sec}, 1.5},
		"5s at 200ms":              {200 * ms, 5 * sec, kinesistest.Faults{FrameEvery: 5 * sec}, 1.3},
		"5s at 200ms, two":         {200 * ms, 10 * sec, kinesistest.Faults{FrameEvery: 5 * sec}, 1.3},
		"1.5s at 1s":               {sec, 3 * sec, kinesistest.Faults{FrameEvery: 1500 * ms}, 1.9},
		"1.5s at 1s, six":          {sec, 9 * sec, kinesistest.Faults{FrameEvery: 1500 * ms}, 1.5},
		"0.7s at 500ms, ten":       {500 * ms, 7 * sec, kinesistest.Faults{FrameEvery: 700 * ms}, 1.5},
		"3s at 200ms":              {200 * ms, 3 * sec, kinesistest.Faults{FrameEvery: 3 * sec}, 1.3},
		"1s at 200ms":              {200 * ms, 4 * sec, kinesistest.Faults{FrameEvery: sec}, 1.3},
	} {
		for how, set := range between {
			t.Run(name+", "+how, func(t *testing.T) {
				sample(t)
				if how == "bare entries between" && name == "0.7s at 500ms, ten" {
					t.Skip("two slots may be closer than two frames, so that a bare entry between them may be one")
				}
				synctest.Test(t, func(t *testing.T) {
					f := tc.faults
					f.DenyListFragments = true
					set(&f)
					p := pace{
						camera: kinesistest.Stream{Fragment: tc.fragment, Faults: &f}, interval: tc.interval,
						opts: poll.Options{Lag: poll.Auto, Overlap: poll.Auto},
					}
					p.run(t)
					// Where frames are repeated, the camera is like one that has a frame for each slot.
					if p.latest > 2*time.Second && how != "repeated" || p.asked > tc.asked {
						t.Errorf("at most %v late, and %.2f images asked for each slot, want %.2f", p.latest, p.asked, tc.asked)
					}
				})
			})
		}
	}
}

// TestPollSlowCamerasThatVary has fragments of 2 to 9 s, each with a few frames. Lists of them
// make nothing worse.
func TestPollSlowCamerasThatVary(t *testing.T) {
	const ms, sec = time.Millisecond, time.Second
	for name, tc := range map[string]struct{ every, interval time.Duration }{
		"0.9s at 200ms": {909 * ms, 200 * ms},
		"1.5s at 200ms": {1500 * ms, 200 * ms},
		"2s at 1s":      {2 * sec, sec},
		"1.5s at 1s":    {1500 * ms, sec},
	} {
		for how, set := range between {
			for _, deny := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, %s, denied %v", name, how, deny), func(t *testing.T) {
					sample(t)
					synctest.Test(t, func(t *testing.T) {
						f := kinesistest.Faults{FrameEvery: tc.every, DenyListFragments: deny}
						set(&f)
						p := pace{
							camera: kinesistest.Stream{Fragment: 2 * sec, FragmentMax: 9 * sec, Faults: &f}, interval: tc.interval,
							opts: poll.Options{Lag: poll.Auto, Overlap: poll.Auto},
						}
						p.run(t)
						if p.age > 7500*ms || p.latest > 25*sec || p.asked > 6.5 || p.made > 2 {
							t.Errorf("%v old, %v late, %.2f images asked and %.2f made for each slot", p.age, p.latest, p.asked, p.made)
						}
					})
				})
			}
		}
	}
}

// TestPollPicturesThatFail: a picture that an answer happens not to have is asked for again
// with its fragment, and found long before the grace is over.
func TestPollPicturesThatFail(t *testing.T) {
	for _, deny := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p := pace{
				camera: kinesistest.Stream{
					Fragment: 2 * time.Second, Delay: time.Second,
					Faults: &kinesistest.Faults{NoPicture: 0.01, DenyListFragments: deny},
				},
				interval: 200 * time.Millisecond, opts: poll.Options{Lag: poll.Auto, Overlap: poll.Auto},
			}
			p.run(t)
			if p.age > 3100*time.Millisecond || p.made > 1.15 {
				t.Errorf("frames are %v old, and %.2f images were made for each slot", p.age, p.made)
			}
		})
	}
}

// TestPollLag: a configured lag costs no more than a learned one, and nothing younger is
// asked for.
func TestPollLag(t *testing.T) {
	const ms, sec = time.Millisecond, time.Second
	for name, tc := range map[string]struct{ interval, fragment, delay time.Duration }{
		"2s":     {200 * ms, 2 * sec, 500 * ms},
		"4s":     {200 * ms, 4 * sec, 1500 * ms},
		"2133ms": {200 * ms, 2133 * ms, 1500 * ms},
		"10s":    {200 * ms, 10 * sec, sec},
		"4s, 1s": {sec, 4 * sec, 500 * ms},
		"4s, 1m": {time.Minute, 4 * sec, 500 * ms},
		"7s, 1m": {time.Minute, 7 * sec, 500 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			sample(t)
			run := func(lag time.Duration) pace {
				p := pace{
					camera:   kinesistest.Stream{Fragment: tc.fragment, Delay: tc.delay, Faults: &kinesistest.Faults{DenyListFragments: true}},
					interval: tc.interval, opts: poll.Options{Lag: lag, Overlap: poll.Auto}, length: max(20*time.Minute, 200*tc.interval),
				}
				t.Run(lag.String(), func(t *testing.T) { synctest.Test(t, p.run) })
				return p
			}
			auto := run(poll.Auto)
			for _, lag := range []time.Duration{0, 500 * ms, 3 * sec, 5 * sec, 8 * sec, 30 * sec} {
				p := run(lag)
				// With a slot a minute, how often polls come early is a matter of luck.
				if p.asked > 1.1*auto.asked && tc.interval < tc.fragment || p.made > 1.1*auto.made {
					t.Errorf("lag %v: %.2f images asked for and %.2f made, want at most %.2f and %.2f", lag, p.asked, p.made, auto.asked, auto.made)
				}
				if oldest := max(lag, auto.age) + tc.fragment/2 + 2*sec; p.age > oldest || p.lag != lag {
					t.Errorf("lag %v is shown as %v, frames are %v old, want at most %v", lag, p.lag, p.age, oldest)
				}
			}
		})
	}
}
