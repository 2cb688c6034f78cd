package kinesis_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// A mood is how a stream is read for some time: whether anybody wants it, and how often.
type mood struct {
	wanted bool
	pace   time.Duration
}

// TestStormOfBursts has a stream that is read at one frame a second, at times less often, at
// times not at all, and bursts of it every few minutes, while the service does all that it does
// in the storms. Every slot ends, in order, and none is given up whose picture could be had in
// time: neither of the stream, while it was read, nor of a burst.
func TestStormOfBursts(t *testing.T) {
	for i := range *seeds {
		synctest.Test(t, func(t *testing.T) { stormOfBursts(t, *firstSeed+uint64(i)) })
	}
}

func stormOfBursts(t *testing.T, seed uint64) {
	const length, most = time.Hour, 4 * time.Minute
	w := storm{name: "bursts", streams: 1, longest: 2 * time.Second, denied: true, behind: time.Hour} // the stream is not deleted
	opts := kinesistest.Options{Streams: kinesistest.Cameras(1), Seed: seed, Faults: w.faults(seed), Delay: mediaDelay, Fragment: w.longest}
	s := serve(t, opts, kinesis.Options{})
	name, begin, rng := s.Streams()[0], s.Now(), rand.New(rand.NewPCG(seed, 77))
	stream := s.client.Stream(kinesis.StreamOptions{Name: name})
	for stream.Check(t.Context()) != nil {
		time.Sleep(time.Second)
	}
	var mu sync.Mutex
	now := mood{wanted: true}
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var all sync.WaitGroup
	base := read{poll: poll.Options{
		Lag: poll.Auto, Overlap: poll.Auto, Retention: stream.Retention, Now: s.client.Now, Unsure: s.client.Unsure, Linger: 5 * time.Second,
		Wanted: func(context.Context) (wanted, known bool) {
			mu.Lock()
			defer mu.Unlock()
			return now.wanted, true
		},
		Pace: func() time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return now.pace
		},
	}}
	all.Go(func() { base.run(ctx, t, stream, time.Second, source.SlotAt(begin)) })
	var bursts []*read
	for ctx.Err() == nil {
		time.Sleep(time.Duration(rng.Int64N(int64(most))))
		mu.Lock()
		now = mood{wanted: rng.IntN(4) > 0, pace: []time.Duration{0, 0, 2 * time.Second, 5 * time.Second, -1}[rng.IntN(5)]}
		mu.Unlock()
		at := source.SlotAt(s.client.Now()).Add(-time.Duration(rng.IntN(300)) * time.Second)
		if rng.IntN(2) == 0 {
			at = source.SlotAt(s.client.Now())
		}
		burst := &read{poll: poll.Options{
			Lag: poll.Auto, Overlap: poll.Auto, Retention: stream.Retention, Now: s.client.Now, Unsure: s.client.Unsure, To: at.Add(10 * time.Second),
		}}
		bursts = append(bursts, burst)
		all.Go(func() { burst.run(t.Context(), t, stream, 200*time.Millisecond, at.Add(-5*time.Second)) })
	}
	all.Wait()
	truth, err := s.Media(name, begin.Add(-10*time.Minute), begin.Add(length+time.Minute), 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	given := func(r *read) (wrong int) {
		for _, at := range truth {
			inTime := at.Exists && !at.MediaError && !at.Visible.IsZero() && !at.Pictures.After(at.Time.Add(poll.DefaultGrace))
			if o := r.ended[source.SlotAt(at.Time)]; inTime && o.Lost() {
				wrong++
				t.Logf("%v ended as %v", at.Time, o)
			}
		}
		return wrong
	}
	slots := 0
	for _, b := range append(bursts, &base) {
		slots += len(b.ended)
		if n := given(b); n > 0 {
			t.Errorf("%d slots were given up, though their pictures could be had", n)
		}
	}
	published := uint64(0)
	for _, b := range bursts {
		st := b.ledger.Stats()
		if published += st.Ended[source.Published]; st.Expected != 75 || st.Pending != 0 {
			t.Errorf("a burst: %+v", st)
		}
	}
	if published < uint64(len(bursts))*75*8/10 { // the rest is outages
		t.Errorf("%d slots of %d bursts arrived", published, len(bursts))
	}
	st, total := base.ledger.Stats(), s.Totals()[name]
	for _, o := range []source.Outcome{source.Published, source.Skipped, source.Unwatched} {
		if st.Ended[o] == 0 {
			t.Errorf("no slot of the stream is %v", o)
		}
	}
	t.Logf("%d bursts, %d slots, %d images answered, %+v", len(bursts), slots, total.Answered, st)
	if most := 4 * (int(st.Ended[source.Published]) + 75*len(bursts)); total.Answered > most {
		t.Errorf("%d images were asked for and not refused, want at most %d", total.Answered, most)
	}
}

// A read is a poller at work, and how its slots have ended.
type read struct {
	poll   poll.Options
	ledger *source.Ledger
	ended  map[source.Slot]source.Outcome
}

func (r *read) run(ctx context.Context, t *testing.T, stream *kinesis.Stream, interval time.Duration, from source.Slot) {
	grid, err := source.NewGrid(interval)
	if err != nil {
		t.Error(err)
		return
	}
	r.ended = map[source.Slot]source.Outcome{}
	r.ledger = source.NewLedger(grid, from)
	last := source.Slot(0)
	r.ledger.Watch(func(from source.Slot, n int, o source.Outcome) {
		for ; n > 0; n-- {
			r.ended[from] = o
			from = grid.Step(from, 1)
		}
	})
	for f, err := range poll.New(stream, r.ledger, r.poll).Frames(ctx) {
		if err != nil {
			continue
		}
		if f.Slot <= last {
			t.Errorf("slot %v came after %v", f.Slot, last)
		}
		last = f.Slot
		r.ledger.Resolve(f.Slot, source.Published)
		st := r.ledger.Stats()
		sum := st.Pending
		for _, n := range st.Ended {
			sum += n
		}
		if sum != st.Expected {
			t.Errorf("the ledger does not add up: %+v", st)
		}
	}
}
