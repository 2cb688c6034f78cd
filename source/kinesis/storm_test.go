package kinesis_test

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

var (
	seeds     = flag.Int("seeds", 1, "how many seeds TestStorm runs")
	firstSeed = flag.Uint64("seed", 1, "the first of them")
)

// A storm is everything that the service, the network and the cameras do at once, and what
// the poller is expected to make of it.
type storm struct {
	name     string
	streams  int
	longest  time.Duration // of the fragments, which are of 2 s at least
	denied   bool          // fragments may not be listed
	producer bool          // asked for by the cameras' clocks, which drift and jump
	clock    time.Duration // how far these are behind besides, or ahead where negative
	page     int           // the most images on a page, 0 for 25
	behind   time.Duration // how much of the hour is past when it begins
	varies   bool          // the service behaves in another way with each seed
	cost     float64       // the most images asked for and not refused, for each that arrives, of all streams
	paid     float64       // the most pictures made, for each that arrives, where it is promised
}

func (w storm) faults(seed uint64) kinesistest.Faults {
	f := kinesistest.Faults{
		Jitter: 300 * time.Millisecond, Late: 0.01, LateBy: 8 * time.Second, Never: 0.005,
		ErrorFirst:  0.02,
		EarlyErrors: 0.002, EarlyBare: 0.002, EarlyEmpty: 0.002, EarlyFor: 2 * time.Second,
		Hidden: 0.003, HiddenFragments: 0.003,
		MediaErrors: 0.005, Outages: 0.01, Stretch: 10 * time.Second,
		Unordered: 0.2, Duplicates: 0.05, OffGrid: 40 * time.Millisecond, Outside: 0.1,
		EmptyPages: 0.02, EmptyRun: 6, TokenLife: 10 * time.Second, BadTokens: 0.02,
		Throttle: true, Others: 0.2, ThrottleEndpoint: 0.2,
		Errors: 0.02, Resets: 0.01, Cuts: 0.01, Slow: 0.01, Trickle: 0.01, SlowBy: 3 * time.Second,
		NoImages: 0.005, Rotate: 7 * time.Minute, DeadAnswers: 5, DenyListFragments: w.denied, PageSize: w.page,
		Updating:   0.05,
		ListJitter: 60 * time.Millisecond, ListShort: 100 * time.Millisecond, ListLong: 50 * time.Millisecond,
		ListAbsurd: 0.01, ListMissing: 0.01, ListTwice: 0.05, ListEnds: 0.02, ListPage: 10,
		ListLag: 300 * time.Millisecond, ListAhead: 300 * time.Millisecond,
		Skew: -100 * time.Second, SkewDrift: 1e-4, SkewJump: 40 * time.Second, SkewFor: 20 * time.Second, SkewEvery: 10 * time.Minute,
		HangDescribe: 0.01, HangEndpoint: 0.01, HangList: 0.01, HangFragments: 0.005, HangImages: 0.002, Stalls: 0.002,
	}
	if w.varies {
		w.vary(&f, seed)
	}
	switch {
	case w.behind > 0: // and not deleted, or there would be no backlog
		f.Halve = 40 * time.Minute
	case w.page == 0 || w.page > 4: // with few images on a page, it takes minutes to catch up
		f.Recreate, f.NoRetention, f.AwayFor = 23*time.Minute, 31*time.Minute, 20*time.Second
	}
	if w.producer {
		f.Clock, f.ClockEvery, f.Drift = 1500*time.Millisecond, time.Minute, 100*time.Millisecond
		f.Behind = w.clock
	} else {
		f.ExpiredCredentials = 0.01
	}
	return f
}

// vary adds what is different from storm to storm and from seed to seed: how the service
// behaves where its documents leave it open, and how the camera does.
func (w storm) vary(f *kinesistest.Faults, seed uint64) {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(w.name))
	r := rand.New(rand.NewPCG(seed, hash.Sum64()))
	half := func() bool { return r.IntN(2) == 0 }
	f.Later, f.LaterEvery = time.Duration(r.IntN(3000))*time.Millisecond, 11*time.Minute
	f.NoPicture, f.NoDate = 0.001, 0.2
	f.FindRunning, f.OmitMissing = half(), half()
	if f.EmptyEntries = half(); !f.EmptyEntries {
		f.EmptyRefused = half()
	}
	f.ExcludeEnd = half()
}

// storms are streams with fragments of 2 s, at the promised cost, and with fragments of
// varying lengths; with and without the permission to list them; with cameras whose clocks
// jump; and with a backlog of media that is about to be deleted, by a retention that
// changes.
var storms = []storm{
	{name: "usual", streams: 6, longest: 2 * time.Second, denied: true, cost: 1.35, paid: 1.25},
	{name: "listed", streams: 1, longest: 2 * time.Second, cost: 1.4, paid: 1.25},
	{name: "four a page", streams: 1, longest: 7 * time.Second, denied: true, page: 4, varies: true, cost: 2.8},
	{name: "twelve a page, listed", streams: 1, longest: 7 * time.Second, page: 12, varies: true, cost: 2.7},
	{name: "camera clocks", streams: 2, longest: 2 * time.Second, denied: true, producer: true, cost: 3},
	{name: "camera clocks, listed", streams: 1, longest: 7 * time.Second, producer: true, cost: 3},
	{name: "camera clocks behind", streams: 1, longest: 2 * time.Second, denied: true, producer: true, clock: 47 * time.Minute, cost: 3},
	{name: "camera clocks ahead, listed", streams: 1, longest: 2 * time.Second, producer: true, clock: -80 * time.Second, cost: 3},
	{name: "backlog", streams: 1, longest: 2 * time.Second, denied: true, behind: 65 * time.Minute, cost: 1.35, paid: 1.25},
	{name: "backlog, listed", streams: 1, longest: 7 * time.Second, behind: 65 * time.Minute, varies: true, cost: 1.85},
}

// mediaDelay is how long after its end a fragment usually is visible in the storms.
const mediaDelay = 1500 * time.Millisecond

// TestStorm polls streams for an hour of fake time with all faults together, and compares,
// slot by slot, what the fake had with what arrived.
func TestStorm(t *testing.T) {
	storms := storms
	if testing.Short() || raceDetector {
		storms = storms[1:3] // 2 hours of streams instead of 14
	}
	for i := range *seeds {
		seed := *firstSeed + uint64(i)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			for _, w := range storms {
				t.Run(w.name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { w.run(t, seed) })
				})
			}
		})
	}
}

func (w storm) run(t *testing.T, seed uint64) {
	opts := kinesistest.Options{
		Streams: kinesistest.Cameras(w.streams), Seed: seed, Faults: w.faults(seed), Delay: mediaDelay,
		Fragment: min(w.longest, 2*time.Second), FragmentMax: w.longest,
	}
	if w.behind > 0 {
		for i := range opts.Streams {
			opts.Streams[i].Retention = 2 * time.Hour // and an hour at other times
		}
	}
	s := serve(t, opts, kinesis.Options{})
	begin := s.Now()
	var wg sync.WaitGroup
	var arrived atomic.Int64
	for _, name := range s.Streams() {
		wg.Go(func() { arrived.Add(int64(w.poll(t, s, name, begin))) })
	}
	wg.Wait()
	answered, made := 0, 0
	for _, total := range s.Totals() {
		made += total.Made
		if opts.Faults.EmptyEntries {
			answered += total.Made // as the entries are of windows that are refused otherwise
		} else {
			answered += total.Answered
		}
	}
	if cost := float64(answered) / float64(arrived.Load()); cost > w.cost {
		t.Errorf("%+v: %.3f images asked for and not refused, for each that arrived", w, cost)
	}
	if paid := float64(made) / float64(arrived.Load()); w.paid > 0 && paid > w.paid {
		t.Errorf("%+v: %.3f pictures made for each that arrived", w, paid)
	}
}

// poll polls one stream to its end, checks what can be checked of one stream alone, and
// returns how many frames arrived.
func (w storm) poll(t *testing.T, s *service, name string, now time.Time) int {
	const grace = 10 * time.Second
	begin := now.Add(-w.behind - w.clock)
	end := begin.Add(max(time.Hour, w.behind+10*time.Minute))
	grid, err := source.NewGrid(source.MinInterval)
	if err != nil {
		t.Error(err)
		return 0
	}
	stream := s.client.Stream(kinesis.StreamOptions{Name: name, Producer: w.producer})
	for stream.Check(t.Context()) != nil { // throttled, or the service fails
		time.Sleep(time.Second)
	}
	ledger := source.NewLedger(grid, source.SlotAt(begin))
	poller := poll.New(stream, ledger, poll.Options{
		Lag: poll.Auto, Overlap: poll.Auto, Grace: grace, To: source.SlotAt(end), Retention: stream.Retention,
		Now: s.client.Now, Unsure: s.client.Unsure,
	})
	arrived := map[source.Slot]time.Time{}
	last := source.Slot(0)
	failed := 0
	oldest := time.Duration(0)
	for f, err := range poller.Frames(t.Context()) {
		if err != nil {
			failed++
			continue
		}
		if f.Slot <= last {
			t.Errorf("%s: slot %v came after %v", name, f.Slot, last)
		}
		last = f.Slot
		arrived[f.Slot] = s.client.Now()
		oldest = max(oldest, s.Now().Sub(f.Slot.Time()))
		ledger.Resolve(f.Slot, source.Published)
	}

	media := s.Media
	if w.producer {
		media = s.ProducerMedia
	}
	truth, err := media(name, begin, end, grid.Interval())
	if err != nil {
		t.Error(err)
		return 0
	}
	var ages, possible []time.Duration // of the frames, when they came and when their pictures could be had
	missing, errors := 0, uint64(0)
	passed := s.client.Now()
	for _, at := range slices.Backward(truth) {
		slot := source.SlotAt(at.Time)
		when, here := arrived[slot]
		if here {
			passed = when
			ages, possible = append(ages, when.Sub(at.Time)-w.clock), append(possible, at.Pictures.Sub(at.Time)-w.clock)
		}
		// The poller leaves alone what is about to be deleted.
		kept := at.Gone.After(passed.Add(poll.MaxFragment + 10*time.Second + w.longest))
		inTime := at.Exists && !at.Visible.IsZero() && !at.Pictures.After(at.Time.Add(w.clock+grace)) && kept
		switch {
		case inTime && at.MediaError && here:
			// By the cameras' clocks, another fragment may hold this instant, too.
			if !w.producer {
				t.Errorf("%s: %v arrived, though no picture can be made of it", name, slot)
			}
		case inTime && at.MediaError:
			if !here {
				errors++
			}
		case inTime && !here:
			if missing++; missing <= 5 {
				t.Errorf("%s: %v of the fragment %v to %v, visible %v after it, did not arrive",
					name, slot.Time().Sub(begin), at.Start.Sub(begin), at.End.Sub(begin), at.Visible.Sub(at.Time))
			}
		case !at.Exists && here:
			t.Errorf("%s: %v arrived, and never was", name, slot)
		}
	}
	st := ledger.Stats()
	if missing > 0 {
		t.Errorf("%s: %d slots are missing", name, missing)
	}
	// What had ended without a picture counts again if the service's clock has gone back.
	again := uint64(st.Rewound / grid.Interval())
	if st.Pending != 0 || st.Expected < uint64(len(truth)) || st.Expected > uint64(len(truth))+again || st.Ended[source.Published] != uint64(len(arrived)) || st.Ended[source.MediaError] < errors {
		t.Errorf("%s: %d slots and %d media errors there, the ledger has %+v", name, len(truth), errors, st)
	}
	slices.Sort(ages)
	slices.Sort(possible)
	if len(ages) > 0 {
		median := ages[len(ages)/2]
		t.Logf("%s: half of the frames came within %v, possible were %v", name, median, possible[len(possible)/2])
		if usual := w.behind == 0 && w.page == 0 && !w.producer; usual && median > w.longest/2+mediaDelay+2*time.Second {
			t.Errorf("%s: half of the frames were older than %v", name, median)
		}
	}
	total := s.Totals()[name]
	t.Logf("%s: %d of %d arrived, %d failed polls, for each %.3f images asked and not refused, %.3f made, lag %v, at most %v old",
		name, len(arrived), len(truth), failed, float64(total.Answered)/float64(len(arrived)),
		float64(total.Made)/float64(len(arrived)), poller.State().Lag, oldest)
	return len(arrived)
}
