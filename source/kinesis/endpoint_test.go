package kinesis_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// A watched stream is polled, and what its client tells is kept.
type watched struct {
	*service
	log     bytes.Buffer
	lookups map[string]int // by result
	ledger  *source.Ledger
	failed  int                          // polls
	arrived map[source.Slot]time.Time    // frames
	lists   bool                         // fragments are listed
	each    func(source.Frame, error)    // called for each frame and error
	opts    func(*poll.Options)          // may change them
	stream  func(*kinesis.StreamOptions) // the same
}

// run polls cam-1 from begin on for a time.
func (w *watched) run(t *testing.T, opts kinesistest.Options, begin time.Time, length time.Duration) {
	t.Helper()
	opts.Faults.DenyListFragments = !w.lists
	w.service = serve(t, opts, kinesis.Options{Logger: slog.New(slog.NewTextHandler(&w.log, nil))})
	w.lookups, w.arrived = map[string]int{}, map[source.Slot]time.Time{}
	grid, err := source.NewGrid(source.MinInterval)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	so := kinesis.StreamOptions{Name: "cam-1", Observe: w.observe, Located: func(result string) {
		mu.Lock()
		defer mu.Unlock()
		w.lookups[result]++
	}}
	if w.stream != nil {
		w.stream(&so)
	}
	stream := w.client.Stream(so)
	w.ledger = source.NewLedger(grid, source.SlotAt(begin))
	po := poll.Options{
		Stream: "cam-1", Lag: poll.Auto, Overlap: poll.Auto, To: source.SlotAt(begin.Add(length)),
		Check: stream.Check, Retention: stream.Retention,
	}
	if w.opts != nil {
		w.opts(&po)
	}
	for f, err := range poll.New(stream, w.ledger, po).Frames(t.Context()) {
		if w.each != nil {
			w.each(f, err)
		}
		if err != nil {
			w.failed++
			continue
		}
		w.arrived[f.Slot] = time.Now()
		w.ledger.Resolve(f.Slot, source.Published)
	}
}

// missing returns how many slots did not arrive although the fake had their media, and long
// enough.
func (w *watched) missing(t *testing.T, begin time.Time, length time.Duration) (n int) {
	t.Helper()
	truth, err := w.Media("cam-1", begin, begin.Add(length), source.MinInterval)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range truth {
		inTime := !at.Visible.IsZero() && !at.Visible.After(at.Time.Add(poll.DefaultGrace)) && at.Gone.After(at.Time.Add(time.Minute))
		if _, here := w.arrived[source.SlotAt(at.Time)]; inTime && !here {
			if n++; n == 1 {
				t.Logf("the first is %v after the beginning", at.Time.Sub(begin))
			}
		}
	}
	return n
}

// TestEndpointsThatMoveSilently: an endpoint that moves, and from then on answers as if the
// camera was off, costs no slot, whether fragments are listed or not.
func TestEndpointsThatMoveSilently(t *testing.T) {
	const length = 10 * time.Minute
	for answers := range 6 {
		for _, lists := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d lists=%t", answers, lists), func(t *testing.T) {
				sample(t)
				synctest.Test(t, func(t *testing.T) {
					begin := time.Now()
					w := &watched{lists: lists}
					w.run(t, kinesistest.Options{
						Fragment: time.Second, FragmentMax: 4 * time.Second, Delay: 1200 * time.Millisecond,
						Faults: kinesistest.Faults{Rotate: 2 * time.Minute, DeadAnswers: answers},
					}, begin, length)
					if st := w.ledger.Stats(); st.Ended[source.Published] != 3000 {
						t.Errorf("%d missing, %+v", w.missing(t, begin, length), st)
					}
					if n := strings.Count(w.log.String(), "has moved"); n < 4 || n > 5 || !strings.Contains(w.log.String(), "stream=cam-1") {
						t.Errorf("%d moves are told:\n%s", n, w.log.String())
					}
					if n := w.lookups[kinesis.LookupMoved]; n < 4 || w.lookups[kinesis.LookupFirst] == 0 {
						t.Errorf("look-ups: %v", w.lookups)
					}
					for slot, at := range w.arrived {
						if late := at.Sub(slot.Time()); late > 40*time.Second && slot.Time().Sub(begin) > time.Minute {
							t.Fatalf("%v came %v late", slot, late)
						}
					}
				})
			})
		}
	}
}

// TestEndpointsMoveWhileMediaIsMissing: cameras that are off now and then, and fragments
// that are late or never come, hide no endpoint that moves.
func TestEndpointsMoveWhileMediaIsMissing(t *testing.T) {
	const length = 20 * time.Minute
	for seed := range uint64(2) {
		for _, lists := range []bool{false, true} {
			t.Run(fmt.Sprintf("seed=%d lists=%t", seed, lists), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					begin := time.Now()
					w := &watched{lists: lists}
					w.run(t, kinesistest.Options{Seed: seed, Delay: 1200 * time.Millisecond, Faults: kinesistest.Faults{
						Rotate: 2 * time.Minute, DeadAnswers: 5, Outages: 0.1, Stretch: 20 * time.Second,
						Late: 0.05, LateBy: 8 * time.Second, Never: 0.02,
					}}, begin, length)
					if n := w.missing(t, begin, length); n > 0 {
						t.Errorf("%d slots are missing, %v", n, w.lookups)
					}
				})
			})
		}
	}
}

// TestACameraThatIsOff: its endpoint is confirmed seldom, and its slots end in time.
func TestACameraThatIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		off := kinesistest.Interval{From: begin.Add(10 * time.Minute), To: begin.Add(130 * time.Minute)}
		w := &watched{}
		w.run(t, kinesistest.Options{Streams: []kinesistest.Stream{{Name: "cam-1", Outages: []kinesistest.Interval{off}}}},
			begin, 140*time.Minute)
		if st := w.ledger.Stats(); st.Ended[source.Published] != 6000 || st.Ended[source.NoMedia] != 36_000 || w.failed > 0 {
			t.Errorf("%+v, %d failed polls", st, w.failed)
		}
		if n := w.lookups[kinesis.LookupSame]; n < 5 || n > 100 {
			t.Errorf("look-ups in two hours: %v", w.lookups)
		}
		if strings.Contains(w.log.String(), "level=WARN") {
			t.Errorf("logged:\n%s", w.log.String())
		}
	})
}

// TestThousandsOfCamerasAreOff counts the look-ups of each second while all cameras are off.
func TestThousandsOfCamerasAreOff(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("simulates 600 cameras")
	}
	synctest.Test(t, func(t *testing.T) {
		const cameras, length = 600, 15 * time.Minute
		streams := kinesistest.Cameras(cameras)
		for i := range streams {
			streams[i].Since = time.Now().Add(24 * time.Hour)
		}
		var mu sync.Mutex
		seconds, all := map[int64]int{}, 0
		s := serve(t, kinesistest.Options{Streams: streams, Observe: func(r kinesistest.Request) {
			if r.Operation == "GetDataEndpoint" {
				mu.Lock()
				defer mu.Unlock()
				seconds[r.Time.Unix()]++
				all++
			}
		}}, kinesis.Options{})
		var wg sync.WaitGroup
		end := time.Now().Add(length)
		for _, camera := range streams {
			wg.Go(func() {
				stream := s.stream(camera.Name)
				for time.Now().Before(end) {
					w := past(11)
					w.Final = true
					if _, _, err := collect(t, stream, w); !errors.Is(err, poll.ErrEmptyWindow) {
						t.Error(err)
						return
					}
					time.Sleep(10 * time.Second)
				}
			})
		}
		wg.Wait()
		for second, n := range maps.All(seconds) {
			if n > 300 {
				t.Errorf("%d look-ups in second %d", n, second)
			}
		}
		if all < 2*cameras || all > 11*cameras {
			t.Errorf("%d look-ups for %d cameras", all, cameras)
		}
	})
}

// TestAnEndpointThatCannotBeConfirmed: while nobody can say whether an endpoint is the
// right one, no slot ends on its word.
func TestAnEndpointThatCannotBeConfirmed(t *testing.T) {
	for _, answers := range []int{0, 1, 2, 4} {
		t.Run(fmt.Sprint(answers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				w := &watched{}
				told := false
				w.each = func(_ source.Frame, err error) {
					told = told || err != nil && strings.Contains(err.Error(), "cannot be confirmed")
				}
				w.run(t, kinesistest.Options{
					Faults: kinesistest.Faults{Rotate: 20 * time.Minute, DeadAnswers: answers},
					Intercept: func(r kinesistest.Request) *kinesistest.ErrorResponse {
						if at := r.Time.Sub(begin); r.Operation == "GetDataEndpoint" && at > 30*time.Second && at < 25*time.Minute {
							return kinesistest.Unavailable()
						}
						return nil
					},
				}, begin, 30*time.Minute)
				if st := w.ledger.Stats(); st.Ended[source.Published] != 9000 {
					t.Errorf("%+v", st)
				}
				if !told && answers > 0 {
					t.Error("nothing is said of it")
				}
			})
		})
	}
}

// TestStreamsThatAreCreatedAgain: a stream that was deleted and created again under its name
// goes on, and that is told.
func TestStreamsThatAreCreatedAgain(t *testing.T) {
	const length = time.Hour
	for _, answers := range []int{0, 1, 2, 5} {
		t.Run(fmt.Sprint(answers), func(t *testing.T) {
			sample(t)
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				w := &watched{}
				w.run(t, kinesistest.Options{Faults: kinesistest.Faults{Recreate: 10 * time.Minute, DeadAnswers: answers}}, begin, length)
				if n := w.missing(t, begin, length); n > 0 {
					t.Errorf("%d slots are missing, %v", n, w.lookups)
				}
				st := w.ledger.Stats()
				if st.Pending != 0 || st.Ended[source.Published] < 17_200 || st.Ended[source.NoMedia] == 0 {
					t.Errorf("%+v", st)
				}
				if n := strings.Count(w.log.String(), "was deleted and created again"); n < 5 || n > 6 {
					t.Errorf("%d are told:\n%s", n, w.log.String())
				}
			})
		})
	}
}
