package poll

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// step is the interval of testGrid.
const step = 200 * time.Millisecond

func testGrid(t testing.TB) source.Grid {
	t.Helper()
	g, err := source.NewGrid(step)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// A camera answers as the service does: media comes in fragments that become visible some
// time after their end, and there are no images of the fragment that is running when the
// window opens.
type camera struct {
	fragment time.Duration
	spans    []Span                                // of the fragments, where their lengths vary
	delay    func(start source.Slot) time.Duration // from a fragment's end until it is visible
	media    func(source.Slot) bool                // whether there is media; nil is always
	fail     func(n int) error                     // what the n-th request fails with
	broken   func(source.Slot) bool                // MEDIA_ERROR
	latency  time.Duration                         // of an answer
	keeps    time.Duration                         // how long media is kept; a window before is refused

	requests, asked int
	countFrom       source.Slot // asked counts from here
	shuffle         *rand.Rand
}

func (c *camera) visible(s, windowStart, now source.Slot) bool {
	span := c.span(s)
	return span.Start >= windowStart && now >= span.End.Add(c.delay(span.Start)) && (c.media == nil || c.media(s))
}

// span returns the fragment that holds s.
func (c *camera) span(s source.Slot) Span {
	if c.spans == nil {
		start := s - s%source.Slot(c.fragment.Milliseconds())
		return Span{start, start.Add(c.fragment)}
	}
	i, found := slices.BinarySearchFunc(c.spans, s, func(span Span, s source.Slot) int { return int(span.Start - s) })
	if !found {
		i--
	}
	return c.spans[i]
}

func (c *camera) Images(_ context.Context, w Window) iter.Seq2[Image, error] {
	return func(yield func(Image, error) bool) {
		c.requests++
		if c.fail != nil {
			if err := c.fail(c.requests); err != nil {
				yield(Image{}, err)
				return
			}
		}
		time.Sleep(c.latency)
		now := source.SlotAt(time.Now())
		if c.keeps > 0 && w.Start < now.Add(-c.keeps) {
			yield(Image{}, errors.New("400: before retention"))
			return
		}
		if now >= c.countFrom {
			c.asked += w.Slots()
		}
		var images []Image
		for s := w.Start; s <= w.End; s = s.Add(w.Interval) {
			img := Image{Time: s.Time(), Err: source.ErrNoMedia}
			if c.visible(s, w.Start, now) {
				img.Err, img.Data = nil, fmt.Append(nil, s)
				if c.broken != nil && c.broken(s) {
					img.Err, img.Data = source.ErrMedia, nil
				}
			}
			images = append(images, img)
		}
		if c.shuffle != nil {
			// Unordered, some twice, some off the grid, some outside of the window.
			images = append(images, images[:len(images)/3]...)
			images = append(images, Image{Time: w.End.Add(w.Interval).Time(), Data: []byte("outside")})
			c.shuffle.Shuffle(len(images), func(i, j int) { images[i], images[j] = images[j], images[i] })
			for i := range images {
				images[i].Time = images[i].Time.Add(time.Duration(c.shuffle.IntN(60)-30) * time.Millisecond)
			}
		}
		for _, img := range images {
			if !yield(img, nil) {
				return
			}
		}
	}
}

func always(d time.Duration) func(source.Slot) time.Duration {
	return func(source.Slot) time.Duration { return d }
}

// worlds are cameras and configurations of many kinds: everything that becomes visible must
// arrive, at a bounded cost.
func worlds() map[string]world {
	from := func(d time.Duration) func(source.Slot) bool {
		begin := source.SlotAt(time.Now()).Add(d)
		return func(s source.Slot) bool { return s >= begin }
	}
	never := func(source.Slot) bool { return false }
	return map[string]world{
		"fragments of 10s":               {camera: camera{fragment: 10 * time.Second}, cost: 1.6},
		"fragments of 15s":               {camera: camera{fragment: 15 * time.Second}, cost: 1.6},
		"fragments of 19.9s":             {camera: camera{fragment: 19900 * time.Millisecond}, cost: 3.5},
		"fragments of 2133ms":            {camera: camera{fragment: 2133 * time.Millisecond}, cost: 1.6},
		"fragments of 1900ms":            {camera: camera{fragment: 1900 * time.Millisecond}, cost: 1.7},
		"fragments of 1900ms, 1s slots":  {camera: camera{fragment: 1900 * time.Millisecond}, interval: time.Second, cost: 4},
		"answers take 300ms":             {camera: camera{fragment: 2 * time.Second, latency: 300 * time.Millisecond}, cost: 1.6},
		"answers take 1s":                {camera: camera{fragment: 2 * time.Second, latency: time.Second}, cost: 1.8},
		"a slot every 7s":                {camera: camera{fragment: 2 * time.Second}, interval: 7 * time.Second, cost: 4},
		"a slot every 45s":               {camera: camera{fragment: 2 * time.Second}, interval: 45 * time.Second, length: time.Hour, cost: 10},
		"a slot every 299s":              {camera: camera{fragment: 2 * time.Second}, interval: 299 * time.Second, length: 6 * time.Hour, cost: 10},
		"no media at all":                {camera: camera{fragment: 2 * time.Second, media: never}, cost: 16},
		"a backlog without media":        {camera: camera{fragment: 2 * time.Second, media: never}, from: -2 * time.Hour, length: time.Hour, cost: 12},
		"media only in the newer half":   {camera: camera{fragment: 2 * time.Second, media: from(-30 * time.Minute)}, from: -time.Hour, length: 50 * time.Minute, cost: 8},
		"a backlog with long fragments":  {camera: camera{fragment: 10 * time.Second}, from: -time.Hour, length: 50 * time.Minute, cost: 2.5},
		"an overlap that is too short":   {camera: camera{fragment: 3 * time.Second}, opts: Options{Lag: 5 * time.Second, Overlap: time.Second}, cost: 4},
		"no overlap":                     {camera: camera{fragment: 3 * time.Second}, opts: Options{Lag: 5 * time.Second}, cost: 4},
		"a long grace":                   {camera: camera{fragment: 2 * time.Second}, opts: Options{Lag: Auto, Overlap: Auto, Grace: 10 * time.Minute}, cost: 1.6},
		"a short grace":                  {camera: camera{fragment: 4 * time.Second}, opts: Options{Lag: Auto, Overlap: Auto, Grace: time.Second}, cost: 1.8},
		"requests fail while it is dark": {camera: camera{fragment: 2 * time.Second, media: never, fail: everyThird}, cost: 10},
	}
}

func everyThird(n int) error {
	if n%3 == 0 {
		return errors.New("connection reset")
	}
	return nil
}

type world struct {
	camera
	interval, from, length time.Duration
	opts                   Options
	cost                   float64 // images asked for each slot, at most
}

func TestPollerWorlds(t *testing.T) {
	for name := range worlds() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runWorld(t, worlds()[name]) })
		})
	}
}

func runWorld(t *testing.T, w world) {
	c := &w.camera
	c.delay = always(1500 * time.Millisecond)
	grid, err := source.NewGrid(max(w.interval, step))
	if err != nil {
		t.Fatal(err)
	}
	if w.length == 0 {
		w.length = 10 * time.Minute
	}
	if w.opts.Lag == 0 && w.opts.Overlap == 0 {
		w.opts = Options{Lag: Auto, Overlap: Auto}
	}
	start := source.SlotAt(time.Now().Add(w.from))
	w.opts.To = start.Add(w.length)
	l := source.NewLedger(grid, start)
	p := New(c, l, w.opts)
	held := 0
	for f, err := range p.Frames(t.Context()) {
		if err == nil {
			l.Resolve(f.Slot, source.Published)
		}
		held = max(held, len(p.held))
	}
	st := l.Stats()
	there := uint64(0)
	for s := st.Start; s < w.opts.To; s = grid.Step(s, 1) {
		if c.media == nil || c.media(s) {
			there++
		}
	}
	t.Logf("%.2f images a slot, %d of %d published, at most %d held back, lag %v",
		float64(c.asked)/float64(st.Expected), st.Ended[source.Published], there, held, p.State().Lag)
	if st.Ended[source.Published] != there || st.Pending != 0 {
		t.Errorf("%d of %d published: %+v", st.Ended[source.Published], there, st)
	}
	if cost := float64(c.asked) / float64(st.Expected); cost > w.cost {
		t.Errorf("%.2f images asked for a slot, want at most %.2f", cost, w.cost)
	}
	if held > 150 {
		t.Errorf("%d frames were held back", held)
	}
}

// pollFor runs a poller over the given time. It returns the poller's ledger, and the slots of
// the frames with their ages when they came.
func pollFor(t *testing.T, c Fetcher, from, length time.Duration, opts Options) (*source.Ledger, *Poller, []source.Slot, []time.Duration) {
	t.Helper()
	start := source.SlotAt(time.Now().Add(from))
	l := source.NewLedger(testGrid(t), start)
	opts.To = start.Add(length)
	p := New(c, l, opts)
	var slots []source.Slot
	var ages []time.Duration
	for f, err := range p.Frames(t.Context()) {
		if err != nil {
			continue
		}
		if string(f.Data) != fmt.Sprint(f.Slot) {
			t.Fatalf("slot %v got the frame of %s", f.Slot, f.Data)
		}
		l.Resolve(f.Slot, source.Published)
		slots = append(slots, f.Slot)
		ages = append(ages, source.SlotAt(time.Now()).Sub(f.Slot))
	}
	if !slices.IsSorted(slots) || len(slices.Compact(slices.Clone(slots))) != len(slots) {
		t.Error("frames are out of order or come twice")
	}
	st := l.Stats()
	if st.Pending != 0 || st.Expected != uint64(length/step) {
		t.Errorf("%d slots expected, %d pending, want %d and 0", st.Expected, st.Pending, length/step)
	}
	return l, p, slots, ages
}

func auto() Options { return Options{Lag: Auto, Overlap: Auto, Grace: 10 * time.Second} }

func TestPollerLive(t *testing.T) {
	for _, fragment := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 8200 * time.Millisecond} {
		t.Run(fragment.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &camera{fragment: fragment, delay: always(1500 * time.Millisecond)}
				opts := auto()
				opts.Grace = 15 * time.Second
				const warmUp = time.Minute
				c.countFrom = source.SlotAt(time.Now().Add(warmUp))
				l, p, slots, ages := pollFor(t, c, 0, 5*time.Minute, opts)
				if got := l.Stats().Ended[source.Published]; got != 1500 {
					t.Fatalf("%d of 1500 slots published: %+v", got, l.Stats())
				}
				cost := float64(c.asked) / float64(len(slots)-int(warmUp/step))
				newest := slices.Min(ages[len(ages)*4/5:])
				t.Logf("cost %.2f images a frame, %d requests, lag %v, overlap %v, newest frame's age %v",
					cost, c.requests, p.State().Lag, p.State().Overlap, newest)
				// A slot before each fragment shows that it starts there; a twentieth of the
				// polls may be early, and some look for shorter fragments.
				if limit := 1.2 * (1 + float64(step)/float64(fragment)); cost > limit {
					t.Errorf("asked for %.2f images a frame, want at most %.2f", cost, limit)
				}
				if newest > 1500*time.Millisecond+time.Second {
					t.Errorf("the newest frame of a fragment was %v old", newest)
				}
			})
		})
	}
}

func TestPollerCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &camera{fragment: 3 * time.Second, delay: always(time.Second)}
		begin := time.Now()
		l, _, _, _ := pollFor(t, c, -time.Hour, time.Hour-time.Minute, auto())
		if got := l.Stats().Ended[source.Published]; got != 59*60*5 {
			t.Errorf("%d slots published, want %d", got, 59*60*5)
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("waited %v, though all was there", d)
		}
		t.Logf("%.2f images a frame", float64(c.asked)/(59*60*5))
	})
}

func TestPollerHostileAnswers(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			c := &camera{
				fragment: 2 * time.Second, delay: always(time.Second),
				shuffle: rand.New(rand.NewPCG(seed, 0)),
				fail: func(n int) error {
					if n%7 == 3 {
						return errors.New("connection reset")
					}
					return nil
				},
			}
			l, _, _, _ := pollFor(t, c, 0, 2*time.Minute, auto())
			if got := l.Stats().Ended[source.Published]; got != 600 {
				t.Errorf("seed %d: %d of 600 published: %+v", seed, got, l.Stats())
			}
		})
	}
}

func TestPollerGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := source.SlotAt(time.Now())
		outage := func(s source.Slot) bool { d := s.Sub(start); return d >= 40*time.Second && d < 70*time.Second }
		broken := func(s source.Slot) bool { d := s.Sub(start); return d >= 20*time.Second && d < 21*time.Second }
		c := &camera{
			fragment: 2 * time.Second, delay: always(time.Second),
			media: func(s source.Slot) bool { return !outage(s) }, broken: broken,
		}
		l, _, _, ages := pollFor(t, c, 0, 2*time.Minute, auto())
		st := l.Stats()
		if st.Ended[source.NoMedia] != 150 || st.Ended[source.MediaError] != 5 || st.Ended[source.Published] != 600-155 {
			t.Errorf("%+v", st)
		}
		// The grace begins where a slot usually is visible, after 3 s, and what proves that
		// there is no media is doubted twice.
		if oldest := slices.Max(ages); oldest > 10*time.Second+3*time.Second+time.Second {
			t.Errorf("a frame was held back until it was %v old", oldest)
		}
		want := []source.Gap{
			{From: start.Add(20 * time.Second), To: start.Add(20800 * time.Millisecond), Slots: 5, Reason: source.MediaError},
			{From: start.Add(40 * time.Second), To: start.Add(69800 * time.Millisecond), Slots: 150, Reason: source.NoMedia},
		}
		var got []source.Gap
		for g, ok := l.NextGap(); ok; g, ok = l.NextGap() {
			got = append(got, g)
			l.Told(g)
		}
		if !slices.Equal(got, want) {
			t.Errorf("gaps %+v, want %+v", got, want)
		}
	})
}

func TestPollerLateFragments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(4, 4))
		late := map[source.Slot]time.Duration{}
		c := &camera{fragment: 2 * time.Second, delay: func(start source.Slot) time.Duration {
			if _, ok := late[start]; !ok {
				late[start] = time.Second + time.Duration(rng.Int64N(int64(3*time.Second)))
			}
			return late[start]
		}}
		l, _, _, _ := pollFor(t, c, 0, 3*time.Minute, auto())
		if got := l.Stats().Ended[source.Published]; got != 900 {
			t.Errorf("%d of 900 published: media came within the grace", got)
		}
		t.Logf("%.2f images a frame", float64(c.asked)/900)
	})
}

func TestPollerConfiguredLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &camera{fragment: 2 * time.Second, delay: always(time.Second)}
		l, p, _, ages := pollFor(t, c, 0, time.Minute, Options{
			Lag: 4 * time.Second, Overlap: 2 * time.Second, Grace: 10 * time.Second,
		})
		if got := l.Stats().Ended[source.Published]; got != 300 {
			t.Errorf("%d of 300 published", got)
		}
		if youngest := slices.Min(ages); youngest < 4*time.Second {
			t.Errorf("asked for a slot %v after its instant", youngest)
		}
		if p.State().Lag != 4*time.Second {
			t.Errorf("Lag() = %v", p.State().Lag)
		}
	})
}

// TestPollerConfiguredLagOfALongInterval: frames are as old as the lag, whenever the
// polls began.
func TestPollerConfiguredLagOfALongInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		grid, err := source.NewGrid(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(grid.Ceil(source.SlotAt(time.Now())).Add(40 * time.Second).Time()))
		begin := source.SlotAt(time.Now())
		l := source.NewLedger(grid, begin)
		p := New(&camera{fragment: time.Second, delay: always(0)}, l, Options{
			Lag: 3 * time.Second, Overlap: 2 * time.Second, Freshness: 8 * time.Second, To: begin.Add(10 * time.Minute),
		})
		for f, err := range p.Frames(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if age := time.Since(f.Slot.Time()); age < 3*time.Second || age > 4*time.Second {
				t.Errorf("a frame was %v old", age)
			}
			l.Resolve(f.Slot, source.Published)
		}
		if got := l.Stats().Ended[source.Published]; got != 10 {
			t.Errorf("%d of 10 published", got)
		}
	})
}

func TestPollerFreshness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &camera{fragment: 2 * time.Second, delay: always(time.Second)}
		opts := auto()
		opts.Freshness = 30 * time.Second
		l, _, _, ages := pollFor(t, c, -10*time.Minute, 10*time.Minute, opts)
		if st := l.Stats(); st.Ended[source.Stale] != 9*300+150 || st.Ended[source.Published] != 150 {
			t.Errorf("%+v", st)
		}
		if oldest := slices.Max(ages); oldest > 31*time.Second {
			t.Errorf("a frame of age %v came through", oldest)
		}
	})
}

func TestPollerBeginsAtWhatIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keeps = time.Hour
		c := &camera{fragment: 2 * time.Second, delay: always(time.Second), keeps: keeps, latency: 20 * time.Millisecond}
		opts := auto()
		opts.Retention = func() time.Duration { return keeps }
		l, _, _, _ := pollFor(t, c, -3*time.Hour, 2*time.Hour+30*time.Minute, opts)
		st := l.Stats()
		if got, all := st.Ended[source.Published], uint64(30*time.Minute/step); got < all-uint64(time.Minute/step) || got > all {
			t.Errorf("%d of the %d slots that are kept were published", got, all)
		}
		if st.Ended[source.NoMedia]+st.Ended[source.Published] != st.Expected {
			t.Errorf("%+v", st)
		}
	})
}

func TestPollerReportsErrorsAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &camera{fragment: 2 * time.Second, delay: always(time.Second)}
		c.fail = func(n int) error {
			if n < 8 {
				return source.ErrNoStream
			}
			return nil
		}
		l := source.NewLedger(testGrid(t), source.SlotAt(time.Now()))
		opts := auto()
		opts.To = source.SlotAt(time.Now()).Add(time.Minute)
		failed := 0
		for f, err := range New(c, l, opts).Frames(t.Context()) {
			if err != nil {
				if !errors.Is(err, source.ErrNoStream) {
					t.Errorf("error %v", err)
				}
				failed++
				continue
			}
			l.Resolve(f.Slot, source.Published)
		}
		if failed != 7 || l.Stats().Ended[source.Published] != 300 {
			t.Errorf("%d errors, %+v", failed, l.Stats())
		}
	})
}

func TestPollerEmptyWindowIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &camera{fragment: 2 * time.Second, fail: func(int) error { return fmt.Errorf("404: %w", ErrEmptyWindow) }}
		l, _, _, _ := pollFor(t, c, 0, time.Minute, auto())
		if got := l.Stats().Ended[source.NoMedia]; got != 300 {
			t.Errorf("%d of 300 no_media", got)
		}
	})
}

func TestPollerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c := &camera{fragment: 2 * time.Second, delay: always(time.Second)}
		p := New(c, source.NewLedger(testGrid(t), source.SlotAt(time.Now())), auto())
		n := 0
		for _, err := range p.Frames(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 100 {
				cancel()
			}
		}
		if n < 100 || n > 110 {
			t.Errorf("%d frames after the context ended", n-100)
		}
	})
}

// TestNothingIsGivenUpByADoubtfulClock: while the time is in doubt, no slot is given up for
// being older than the retention or the freshness: a clock that is ahead would have it so.
func TestNothingIsGivenUpByADoubtfulClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := source.SlotAt(time.Now())
		grid := testGrid(t)
		l := source.NewLedger(grid, grid.Ceil(now.Add(-10*time.Minute)))
		c := &camera{fragment: 2 * time.Second, delay: func(source.Slot) time.Duration { return time.Second }}
		opts := Options{
			Stream: "cam-1", Lag: Auto, Overlap: Auto, To: now, Retention: func() time.Duration { return 15 * time.Minute }, Freshness: 20 * time.Minute,
			// The clock is an hour ahead until the third answer.
			Now: func() time.Time {
				if c.requests < 3 {
					return time.Now().Add(time.Hour)
				}
				return time.Now()
			},
			Unsure: func() bool { return c.requests < 3 },
		}
		for f, err := range New(c, l, opts).Frames(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			l.Resolve(f.Slot, source.Published)
		}
		if st := l.Stats(); st.Ended[source.Published] != 3000 || st.Pending != 0 {
			t.Errorf("%+v", st)
		}
	})
}
