package forecast

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// A Source is a stream that can be measured.
type Source interface {
	poll.Fetcher
	poll.Lister
	poll.Pager
}

// Measured is what was found out about a stream.
type Measured struct {
	// Media is how its media becomes visible. What could not be found out is as assumed.
	Media Media
	// Cost is what polling it cost in the second half of the time. In the first half the
	// poller was learning. Looking for fragments is not part of it.
	Cost Cost
	// Spent is how many images were asked for in all.
	Spent int
	// Fragments is how many fragments were seen; with fewer than two, nothing was found
	// out about them.
	Fragments int
	// Unseen says why no more of them were seen, nil where the time was up or it was enough.
	Unseen error
}

// fragmentsSeen is how many fragments are looked at.
const fragmentsSeen = 6

// MostImages returns how many images Measure asks for at most: four for each slot, and what
// it takes to look for fragments.
func MostImages(s Stream, length time.Duration) int {
	return 4*int(length/s.Interval+1) + fragmentsSeen*3*poll.PageSlots
}

// Measure polls a stream for some time as "cvfeeder run" would, and finds out how its media
// becomes visible. It asks for no more than [MostImages]. What it could not find out is as
// in assumed; the error says why nothing was.
func Measure(ctx context.Context, from Source, s Stream, length time.Duration, assumed Media) (Measured, error) {
	grid, err := source.NewGrid(s.Interval)
	if err != nil {
		return Measured{}, err
	}
	if s.Options.Now == nil {
		s.Options.Now = time.Now
	}
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	begin := grid.Ceil(source.SlotAt(s.Options.Now()))
	r := &recorder{Source: from, purse: NewPurse(MostImages(s, length)), now: s.Options.Now, from: begin.Add(length / 2)}
	scout := Scout{Ask: r.ask, Now: s.Options.Now}
	var fragments []Fragment
	var failed, polling error
	var all errgroup.Group
	all.Go(func() error {
		fragments, failed = scout.Follow(ctx, fragmentsSeen)
		switch {
		case ctx.Err() != nil:
			failed = nil // the time is up
		case errors.Is(failed, ErrNoMedia):
			cancel() // asking on would cost money in vain
		}
		return nil
	})
	opts := s.Options
	opts.Fetched = r.fetched
	ledger := source.NewLedger(grid, begin)
	var ages []time.Duration
	for frame, err := range poll.New(polled{r}, ledger, opts).Frames(ctx) {
		if err != nil {
			polling = err
			if errors.Is(err, ErrSpent) {
				break
			}
			continue
		}
		if r.counts() || len(ages) == 0 {
			ages = append(ages, source.SlotAt(opts.Now()).Sub(frame.Slot))
		}
		if frame.Recycle != nil {
			frame.Recycle()
		}
		ledger.Resolve(frame.Slot, source.Published)
	}
	_ = all.Wait() // it returns no error
	switch {
	case errors.Is(failed, ErrNoMedia):
		return Measured{}, failed
	case len(ages) == 0 && polling != nil && ctx.Err() == nil:
		return Measured{}, polling
	case len(ages) == 0:
		return Measured{}, fmt.Errorf("no frame arrived within %v", length)
	}
	m := r.measured(assumed, fragments, failed)
	m.Cost.Slots = grid.Count(grid.Ceil(r.from), grid.Ceil(source.SlotAt(opts.Now())))
	m.Cost.Arrived, m.Cost.Age = len(ages), median(ages)
	return m, nil
}

// A recorder passes requests on, counts them, and refuses them when the images are used
// up.
type recorder struct {
	Source
	now  func() time.Time
	from source.Slot // requests before this instant are not counted

	purse *Purse

	mu   sync.Mutex
	cost Cost // of the poller alone
	took []time.Duration
}

// ask implements [Scout.Ask].
func (r *recorder) ask(ctx context.Context, w poll.Window) ([]source.Slot, error) {
	if err := r.purse.Spend(w.Slots()); err != nil {
		return nil, err
	}
	return Pictures(r.Source.Images(ctx, w), w)
}

// Pictures returns the slots of a window that an answer has a picture of, in order.
func Pictures(answer iter.Seq2[poll.Image, error], w poll.Window) ([]source.Slot, error) {
	var found []source.Slot
	for img, err := range answer {
		switch {
		case errors.Is(err, poll.ErrEmptyWindow):
		case err != nil:
			return nil, err
		case img.Err == nil:
			if img.Recycle != nil {
				img.Recycle()
			}
			// Images may be some milliseconds off, or outside of what was asked for.
			off := source.SlotAt(img.Time).Sub(w.Start).Round(w.Interval)
			if at := w.Start.Add(off); at >= w.Start && at <= w.End {
				found = append(found, at)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// polled is what the poller sees of a recorder.
type polled struct{ *recorder }

// Images implements [poll.Fetcher].
func (p polled) Images(ctx context.Context, w poll.Window) iter.Seq2[poll.Image, error] {
	return func(yield func(poll.Image, error) bool) {
		if err := p.purse.Spend(w.Slots()); err != nil {
			yield(poll.Image{}, err)
			return
		}
		made, answered := 0, w.Slots()
		defer func() { p.count(w, answered, made) }()
		for img, err := range p.Source.Images(ctx, w) {
			switch {
			case err != nil:
				answered = 0
			case img.Err == nil:
				made++
			}
			if !yield(img, err) {
				return
			}
		}
	}
}

func (r *recorder) counts() bool { return source.SlotAt(r.now()) >= r.from }

// count counts the answer to a window.
func (r *recorder) count(w poll.Window, answered, made int) {
	if !r.counts() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	page := max(r.PageSlots(), 1)
	r.cost.Requests += (w.Slots() + page - 1) / page
	r.cost.Asked += w.Slots()
	r.cost.Answered += answered
	r.cost.Made += made
}

// Fragments implements [poll.Lister].
func (p polled) Fragments(ctx context.Context, from, to source.Slot) ([]poll.Span, error) {
	spans, err := p.Source.Fragments(ctx, from, to)
	if p.counts() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cost.Lists++
	}
	return spans, err
}

// fetched implements [poll.Options.Fetched].
func (r *recorder) fetched(took time.Duration, err error) {
	if err == nil {
		r.took = append(r.took, took)
	}
}

// measured puts together what was found out.
func (r *recorder) measured(assumed Media, fragments []Fragment, unseen error) Measured {
	m := Measured{Media: assumed, Cost: r.cost, Spent: r.purse.Spent(), Fragments: len(fragments), Unseen: unseen}
	m.Media.Page = r.PageSlots()
	if len(r.took) > 0 {
		m.Media.Latency = max(median(r.took).Round(time.Millisecond), time.Millisecond)
	}
	if len(fragments) < 2 {
		return m
	}
	m.Media.Delay = delay(fragments)
	var lengths []time.Duration
	for _, f := range fragments {
		lengths = append(lengths, f.Length())
	}
	shortest, longest := slices.Min(lengths), slices.Max(lengths)
	if longest-shortest > max(2*resolution, shortest/8) {
		m.Media.Fragment, m.Media.FragmentMax = shortest, longest
		return m
	}
	// Each length is off by up to one slot either way, and their sum by no more.
	whole := fragments[len(fragments)-1].Last.Sub(fragments[0].First) + resolution
	m.Media.Fragment, m.Media.FragmentMax = (whole / time.Duration(len(fragments))).Round(10*time.Millisecond), 0
	return m
}

// delay returns the delay of fragments: as exactly as they show together if it is always
// the same, or else the median.
func delay(fragments []Fragment) time.Duration {
	var upper []time.Duration
	lower := time.Duration(0)
	for _, f := range fragments {
		upper = append(upper, f.Delay())
		if f.Hidden != 0 {
			lower = max(lower, f.Hidden.Sub(f.Last.Add(resolution)))
		}
	}
	if least := slices.Min(upper); lower < least {
		return ((lower + least) / 2).Round(10 * time.Millisecond)
	}
	return median(upper).Round(10 * time.Millisecond)
}

func median(all []time.Duration) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}
