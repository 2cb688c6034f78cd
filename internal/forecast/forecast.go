// Package forecast tells what polling a stream will cost, before it is done: how many
// images are asked for and paid for each slot, with how many requests, and how old the
// frames are when they arrive.
//
// The answers come from the poller itself. [Predict] runs a [poll.Poller] for some
// simulated time over a stream in memory, so whatever the poller does about fragments, lag,
// overlap and pages is in the figures. [Measure] runs it for some real time over a real
// stream, and finds out the [Media] that Predict has to reckon with.
//
//	media := forecast.Assumed
//	media.Fragment = 10 * time.Second
//	cost, err := forecast.Predict(ctx, media, forecast.Stream{Interval: time.Second, Options: opts})
//	// cost.Made/cost.Slots images are paid for each slot
package forecast

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// Media is how a stream's media becomes visible, and how the service answers.
type Media struct {
	// Fragment is the length of the fragments. FragmentMax, if longer, makes the lengths
	// vary between the two.
	Fragment, FragmentMax time.Duration
	// Delay is how long after its end a fragment becomes visible.
	Delay time.Duration
	// Page is how many images a page of an answer holds at most.
	Page int
	// Latency is how long the service takes for a page.
	Latency time.Duration
	// Lists tells that fragments may be listed.
	Lists bool
}

// Assumed is what is reckoned with as long as nothing is known about a stream: a keyframe
// every two seconds is what most cameras are set to, and the delay is in the middle of
// what users have reported.
var Assumed = Media{ //nolint:gochecknoglobals // a constant, if Go had structured ones
	Fragment: 2 * time.Second, Delay: 3 * time.Second, Page: poll.PageSlots, Latency: 100 * time.Millisecond,
}

// String describes the media in a few words.
func (m Media) String() string {
	fragments := m.Fragment.String()
	if m.FragmentMax > m.Fragment {
		fragments += " to " + m.FragmentMax.String()
	}
	lists := "may not be listed"
	if m.Lists {
		lists = "may be listed"
	}
	return fmt.Sprintf("fragments of %s, which are visible %v after their end and %s; pages of %d images, which take %v",
		fragments, m.Delay, lists, m.Page, m.Latency)
}

// A Stream says what is polled, and how.
type Stream struct {
	// Interval is that of the slots.
	Interval time.Duration
	// Options are those of the poller. Check, Fetched, Retention, Now, Unsure, Sleep,
	// Late and To are left out of account.
	Options poll.Options
	// Behind is how long before now the first slot is. If it is 0, the live edge is
	// polled; otherwise the media up to now, without the live edge.
	Behind time.Duration
}

// A Cost is what polling takes. The images are counted in three ways, because nobody has
// documented which of them the service bills.
type Cost struct {
	// Slots are those that were polled, and Arrived those of them whose frames came.
	Slots, Arrived int
	// Requests are pages, and Lists are listings of fragments.
	Requests, Lists int
	// Asked counts the images that were asked for. Answered counts those of them that the
	// service did not refuse, so that entries without a picture count, and Made those
	// that it made a picture of.
	Asked, Answered, Made int
	// Again counts the images, at most, that are asked for in vain by looking again for slots
	// without media: see [poll.Options.Again]. They are only asked for while there are such
	// slots, and not counted elsewhere.
	Again int
	// Age is the median age of the frames when they arrived.
	Age time.Duration
}

// PerSlot returns how many of something there are for each slot.
func (c Cost) PerSlot(n int) float64 { return float64(n) / float64(max(c.Slots, 1)) }

// How long a prediction simulates.
const (
	// settling is how long a poller has for learning before anything counts.
	settling = 5 * time.Minute
	// counted is how long it is counted for; with long intervals, countedSlots are.
	counted      = 30 * time.Minute
	countedSlots = 60
	// mostBehind is how much of a backlog is simulated. The rest costs as much.
	mostBehind = 2 * time.Hour
)

// Predict returns what polling the stream costs. The same arguments give the same result,
// unless Options.Spread is set, which is random. It takes no real time but that of the
// computation; the error is ctx's, or says that the interval is impossible.
func Predict(ctx context.Context, m Media, s Stream) (Cost, error) {
	grid, err := source.NewGrid(s.Interval)
	if err != nil {
		return Cost{}, err
	}
	begin := source.SlotAt(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) // any other would do
	count := grid.Ceil(begin.Add(max(settling, countedSlots/6*s.Interval)))
	end := count.Add(max(counted, countedSlots*s.Interval))
	first, slots := begin, grid.Count(count, grid.Floor(end))
	opts := s.Options
	opts.Check, opts.Fetched, opts.Retention, opts.Unsure, opts.Late, opts.To = nil, nil, nil, nil, nil, 0
	if s.Behind > 0 {
		first = grid.Ceil(begin.Add(-min(s.Behind, mostBehind)))
		count, opts.To, slots = begin, begin, grid.Count(first, grid.Ceil(begin))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sim := newSimulation(m, first, begin, count, end, cancel)
	opts.Now, opts.Sleep = sim.now, sim.sleep
	ledger := source.NewLedger(grid, first)
	var ages []time.Duration
	for frame, err := range poll.New(sim.fetcher(), ledger, opts).Frames(ctx) {
		if err != nil {
			return Cost{}, fmt.Errorf("the simulated stream failed: %w", err)
		}
		if sim.counts() {
			ages = append(ages, sim.clock.Sub(frame.Slot))
		}
		ledger.Resolve(frame.Slot, source.Published)
	}
	if ctx.Err() != nil && !sim.over() {
		return Cost{}, ctx.Err()
	}
	cost := sim.cost
	cost.Slots, cost.Arrived = slots, len(ages)
	if s.Options.Again > 0 && s.Behind == 0 && !m.Lists {
		cost.Again = slots / poll.AgainShare
	}
	if len(ages) > 0 {
		slices.Sort(ages)
		cost.Age = ages[len(ages)/2]
	}
	return cost, nil
}
