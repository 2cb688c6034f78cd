package kinesis_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/source/poll/ahead"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

// TestFeedAhead runs the suite of feeds over a poller that reads ahead.
func TestFeedAhead(t *testing.T) {
	sourcetest.TestFeed(t, func(t *testing.T, s sourcetest.Stream) source.OpenFeed {
		camera := kinesistest.Stream{Name: s.Name}
		if s.Outage.To != 0 {
			camera.Outages = []kinesistest.Interval{{From: s.Outage.From.Time(), To: s.Outage.To.Time()}}
		}
		srv := serve(t, kinesistest.Options{
			Streams: []kinesistest.Stream{camera},
			Intercept: func(r kinesistest.Request) *kinesistest.ErrorResponse {
				if r.Operation == "GetImages" && s.Failing() {
					return kinesistest.NotAuthorized("kinesisvideo:GetImages")
				}
				return nil
			},
		}, kinesis.Options{})
		return func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
			return ahead.New(srv.stream(s.Name), l, poll.Options{
				Stream: s.Name, Lag: poll.Auto, Overlap: poll.Auto, To: s.To, Fetched: fetched,
			}, ahead.Options{})
		}
	})
}

// latency lets each request for images take some time, as the service does.
func latency(d time.Duration) func(kinesistest.Request) *kinesistest.ErrorResponse {
	return func(r kinesistest.Request) *kinesistest.ErrorResponse {
		if r.Operation == "GetImages" {
			time.Sleep(d)
		}
		return nil
	}
}

// A replay reads a range of the past, and compares what came with what was there.
type replay struct {
	stream   *kinesis.Stream
	from, to time.Time
	interval time.Duration
	opts     ahead.Options
	lost     int // how many pictures may be missing

	frames, errs int
	took         time.Duration
	most         int64 // bytes held
}

func (r *replay) run(t *testing.T, s *service) {
	t.Helper()
	grid, err := source.NewGrid(r.interval)
	if err != nil {
		t.Fatal(err)
	}
	ledger := source.NewLedger(grid, source.SlotAt(r.from))
	feed := ahead.New(r.stream, ledger, poll.Options{Lag: poll.Auto, Overlap: poll.Auto, To: source.SlotAt(r.to)}, r.opts)
	begin, last := time.Now(), source.Slot(0)
	arrived := map[source.Slot]bool{}
	for f, err := range feed.Frames(t.Context()) {
		if err != nil {
			r.errs++
			continue
		}
		if f.Slot <= last || len(f.Data) == 0 {
			t.Fatalf("slot %v came after %v, with %d bytes", f.Slot, last, len(f.Data))
		}
		last, arrived[f.Slot] = f.Slot, true
		r.frames++
		r.most = max(r.most, feed.State().HeldBytes)
		ledger.Resolve(f.Slot, source.Published)
	}
	r.took = time.Since(begin)
	truth, err := s.Media("cam-1", r.from, r.to, r.interval)
	if err != nil {
		t.Fatal(err)
	}
	missing := 0
	for _, at := range truth[:len(truth)-1] { // the service may give the last frame for the slot after it
		if at.Exists && !arrived[source.SlotAt(at.Time)] {
			if missing++; missing > r.lost && missing <= r.lost+3 {
				t.Errorf("%v of the fragment %v to %v did not arrive", at.Time.Sub(r.from), at.Start.Sub(r.from), at.End.Sub(r.from))
			}
		}
	}
	if st := ledger.Stats(); st.Pending != 0 || st.Cursor != grid.Ceil(source.SlotAt(r.to)) {
		t.Errorf("%d of %d slots are pending, up to %v", st.Pending, st.Expected, st.Cursor)
	}
	t.Logf("%d of %d frames in %v, %.1f/s, with %d errors, %d missing, %d bytes held, %d images asked for", r.frames, len(truth), r.took, float64(r.frames)/r.took.Seconds(), r.errs, missing, r.most, s.Totals()["cam-1"].Asked)
}

// TestReadAheadThroughput: where each page takes 400 ms, a day of one camera at one frame a
// second is read with at least 80% of what the stream's quota allows, and with few images that
// are asked for twice.
func TestReadAheadThroughput(t *testing.T) {
	for name, tc := range map[string]struct {
		fragment time.Duration
		overlap  float64
	}{
		"fragments of 2 s":  {2 * time.Second, 0.04},
		"fragments of 10 s": {10 * time.Second, 0.06},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, kinesistest.Options{
					Streams: []kinesistest.Stream{{Name: "cam-1", Fragment: tc.fragment, Retention: 72 * time.Hour}},
					Faults:  kinesistest.Faults{Throttle: true}, Intercept: latency(400 * time.Millisecond),
				}, kinesis.Options{})
				to := time.Now().Add(-time.Hour)
				r := replay{stream: s.stream("cam-1"), from: to.Add(-day()), to: to, interval: time.Second}
				r.run(t, s)
				total := s.Totals()["cam-1"]
				if rate := float64(r.frames) / r.took.Seconds(); rate < 0.8*limits.MediaPoints {
					t.Errorf("%.0f frames a second, of %d that the quota allows", rate, limits.MediaPoints)
				}
				if most := float64(r.frames) * (1 + tc.overlap); float64(total.Asked) > most {
					t.Errorf("asked for %d images of %d frames", total.Asked, r.frames)
				}
				if r.errs > 0 || total.Faults > total.Requests/100 {
					t.Errorf("%d errors, %d of %d requests throttled", r.errs, total.Faults, total.Requests)
				}
			})
		})
	}
}

// day is how much the tests of throughput read.
func day() time.Duration {
	if testing.Short() || raceDetector {
		return 2 * time.Hour
	}
	return 24 * time.Hour
}

// TestReadAheadFaults: whatever the service does, every picture that there is comes once and
// in order.
func TestReadAheadFaults(t *testing.T) {
	const ms, sec = time.Millisecond, time.Second
	for name, tc := range map[string]struct {
		fragment, longest time.Duration
		faults            kinesistest.Faults
	}{
		"fragments of 12 to 40 s":              {12 * sec, 40 * sec, kinesistest.Faults{}},
		"of 20 to 60 s, not listed":            {20 * sec, 60 * sec, kinesistest.Faults{DenyListFragments: true}},
		"of 1 to 30 s, not listed":             {1 * sec, 30 * sec, kinesistest.Faults{DenyListFragments: true}},
		"a frame in 0.9 s":                     {2 * sec, 9 * sec, kinesistest.Faults{FrameEvery: 909 * ms, FrameGaps: true, DenyListFragments: true}},
		"a frame in 1.5 s, by its own time":    {2 * sec, 9 * sec, kinesistest.Faults{FrameEvery: 1500 * ms, FrameGaps: true, FrameTimes: true, DenyListFragments: true}},
		"outages":                              {2 * sec, 2 * sec, kinesistest.Faults{Outages: 0.1, Stretch: 40 * sec}},
		"outages, not listed":                  {2 * sec, 2 * sec, kinesistest.Faults{Outages: 0.1, Stretch: 40 * sec, DenyListFragments: true}},
		"errors of the network":                {2 * sec, 2 * sec, kinesistest.Faults{Errors: 0.1, Resets: 0.1, Cuts: 0.1, Trickle: 0.1, Stalls: 0.02, HangImages: 0.02}},
		"odd pages":                            {2 * sec, 2 * sec, kinesistest.Faults{Unordered: 0.5, Duplicates: 0.2, OffGrid: 40 * ms, Outside: 0.2, EmptyPages: 0.2, PageSize: 7, BadTokens: 0.05}},
		"pictures and pages that are left out": {2 * sec, 2 * sec, kinesistest.Faults{NoPicture: 0.02, ErrorFirst: 0.05, HiddenFragments: 0.02}},
		"others use the stream":                {2 * sec, 2 * sec, kinesistest.Faults{Others: 0.5}},
		"endpoints that move":                  {2 * sec, 2 * sec, kinesistest.Faults{Rotate: 20 * sec, DeadAnswers: 5}},
	} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%s, seed %d", name, seed), func(t *testing.T) {
				sample(t)
				synctest.Test(t, func(t *testing.T) {
					camera := kinesistest.Stream{Name: "cam-1", Fragment: tc.fragment, FragmentMax: tc.longest}
					s := serve(t, kinesistest.Options{Streams: []kinesistest.Stream{camera}, Faults: tc.faults, Seed: seed, Intercept: latency(300 * ms)}, kinesis.Options{})
					to := time.Now().Add(-10 * time.Minute)
					r := replay{stream: s.stream("cam-1"), from: to.Add(-40 * time.Minute), to: to, interval: source.MinInterval}
					if tc.faults.NoPicture > 0 {
						r.lost = 5 // a picture that fails twice by chance is given up by any poller
					}
					r.run(t, s)
				})
			})
		}
	}
}

// TestReadAheadRoom: pictures that wait for earlier ones take no more than the room, but for
// those of the window that is read, and feeds share it.
func TestReadAheadRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, kinesistest.Options{
			Streams: []kinesistest.Stream{{Name: "cam-1"}}, Intercept: latency(400 * time.Millisecond),
		}, kinesis.Options{})
		to := time.Now().Add(-time.Hour)
		const room, window = 50_000, 250 * 400 // a picture has less than 400 bytes
		r := replay{stream: s.stream("cam-1"), from: to.Add(-time.Hour), to: to, interval: time.Second, opts: ahead.Options{Room: ahead.NewRoom(room)}}
		r.run(t, s)
		if r.most > room+window {
			t.Errorf("%d bytes are held, of %d", r.most, room)
		}
	})
}

// TestReplayLeavesTheLiveEdge: a replay with half of the stream's quota does not make the frames
// of the live edge later, and the service throttles neither.
func TestReplayLeavesTheLiveEdge(t *testing.T) {
	lateness := func(t *testing.T, replayed bool) (average time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, kinesistest.Options{
				Streams: []kinesistest.Stream{{Name: "cam-1"}}, Faults: kinesistest.Faults{Throttle: true}, Intercept: latency(400 * time.Millisecond),
			}, kinesis.Options{})
			begin := time.Now()
			grid, err := source.NewGrid(source.MinInterval)
			if err != nil {
				t.Fatal(err)
			}
			var background sync.WaitGroup
			if replayed {
				background.Go(func() {
					r := replay{
						stream: s.client.Stream(kinesis.StreamOptions{Name: "cam-1", Share: 0.5}),
						from:   begin.Add(-20 * time.Hour), to: begin.Add(-time.Hour), interval: time.Second,
					}
					r.run(t, s)
					if rate := float64(r.frames) / r.took.Seconds(); rate < 0.8*limits.MediaPoints/2 || rate > limits.MediaPoints/2 {
						t.Errorf("%.0f frames a second with half of the quota", rate)
					}
				})
			}
			ledger := source.NewLedger(grid, source.SlotAt(begin))
			poller := poll.New(s.stream("cam-1"), ledger, poll.Options{Lag: poll.Auto, Overlap: poll.Auto, To: source.SlotAt(begin.Add(4 * time.Minute))})
			late, n := time.Duration(0), 0
			for f, err := range poller.Frames(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				if ledger.Resolve(f.Slot, source.Published); f.Slot.Time().Sub(begin) > time.Minute {
					late += time.Since(f.Slot.Time())
					n++
				}
			}
			background.Wait()
			average = late / time.Duration(n)
			if total := s.Totals()["cam-1"]; total.Faults > 0 {
				t.Errorf("%d of %d requests were throttled", total.Faults, total.Requests)
			}
		})
		return average
	}
	alone, beside := lateness(t, false), lateness(t, true)
	t.Logf("frames come after %v alone, after %v beside a replay", alone, beside)
	if beside > alone+100*time.Millisecond {
		t.Errorf("frames come after %v beside a replay, after %v without", beside, alone)
	}
}
