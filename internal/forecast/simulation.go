package forecast

import (
	"context"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// A simulation is a stream in memory with a clock of its own. The clock advances when the
// poller sleeps, and while it waits for an answer. It is used by one goroutine.
type simulation struct {
	media   Media
	spans   []poll.Span // the fragments, in order
	clock   source.Slot
	rest    time.Duration // of the clock, below a millisecond
	from    source.Slot   // what happens before is not counted
	end     source.Slot
	stop    func() // called when the clock has reached the end
	cost    Cost
	picture []byte
}

// newSimulation returns a simulation whose media begins before the first slot, and whose
// clock begins at now.
func newSimulation(m Media, first, now, from, end source.Slot, stop func()) *simulation {
	m.Page = max(m.Page, 1)
	sim := &simulation{media: m, clock: now, from: from, end: end, stop: stop, picture: []byte{0}}
	lengths := rand.New(rand.NewPCG(1, 2)) // the same each time
	for start := first.Add(-2 * poll.MaxFragment); start < end; {
		length := max(m.Fragment, source.MinInterval)
		if vary := m.FragmentMax - length; vary > 0 {
			length += time.Duration(lengths.Int64N(int64(vary)))
		}
		next := start.Add(length)
		sim.spans = append(sim.spans, poll.Span{Start: start, End: next})
		start = next
	}
	return sim
}

func (s *simulation) now() time.Time { return s.clock.Time().Add(s.rest) }

// sleep implements [poll.Options.Sleep].
func (s *simulation) sleep(ctx context.Context, d time.Duration) error {
	s.rest += max(d, 0)
	s.clock = s.clock.Add(s.rest)
	s.rest %= time.Millisecond
	if s.over() {
		s.stop()
	}
	return ctx.Err()
}

func (s *simulation) over() bool   { return s.clock >= s.end }
func (s *simulation) counts() bool { return s.clock >= s.from }

// fetcher returns the stream: a [poll.Lister] only if fragments may be listed.
func (s *simulation) fetcher() poll.Fetcher {
	if s.media.Lists {
		return listed{s}
	}
	return s
}

// Images implements [poll.Fetcher] as the service does: it answers in pages, and there is
// nothing of a fragment that is already running when the window opens.
func (s *simulation) Images(ctx context.Context, w poll.Window) iter.Seq2[poll.Image, error] {
	return func(yield func(poll.Image, error) bool) {
		for at := w.Start; at <= w.End; {
			page := make([]poll.Image, 0, s.media.Page)
			if err := s.sleep(ctx, s.media.Latency); err != nil {
				yield(poll.Image{}, err)
				return
			}
			empty := !s.any(w)
			made := 0
			for ; at <= w.End && len(page) < s.media.Page; at = at.Add(w.Interval) {
				img := poll.Image{Time: at.Time(), Err: source.ErrNoMedia}
				if s.has(at, w) {
					img.Data, img.Err = s.picture, nil
					made++
				}
				page = append(page, img)
			}
			s.count(len(page), made, empty)
			if empty {
				yield(poll.Image{}, poll.ErrEmptyWindow)
				return
			}
			for _, img := range page {
				if !yield(img, nil) {
					return
				}
			}
		}
	}
}

// count counts a page.
func (s *simulation) count(asked, made int, empty bool) {
	if !s.counts() {
		return
	}
	s.cost.Requests++
	s.cost.Asked += asked
	if !empty {
		s.cost.Answered += asked
		s.cost.Made += made
	}
}

// PageSlots implements [poll.Pager].
func (s *simulation) PageSlots() int { return s.media.Page }

// has tells whether the window finds media at an instant.
func (s *simulation) has(at source.Slot, w poll.Window) bool {
	i := s.index(at)
	return s.spans[i].Start >= w.Start && s.visible(i)
}

// any tells whether any visible fragment starts within the window.
func (s *simulation) any(w poll.Window) bool {
	i := s.index(w.Start)
	if s.spans[i].Start < w.Start {
		i++
	}
	return i < len(s.spans) && s.spans[i].Start <= w.End && s.visible(i)
}

// index returns the index of the fragment that holds an instant.
func (s *simulation) index(at source.Slot) int {
	i, found := slices.BinarySearchFunc(s.spans, at, func(span poll.Span, at source.Slot) int { return int(span.Start - at) })
	if !found {
		i--
	}
	return max(i, 0)
}

func (s *simulation) visible(i int) bool { return s.clock >= s.spans[i].End.Add(s.media.Delay) }

// listed is a simulation whose fragments may be listed.
type listed struct{ *simulation }

// Fragments implements [poll.Lister].
func (s listed) Fragments(ctx context.Context, from, to source.Slot) ([]poll.Span, error) {
	if err := s.sleep(ctx, s.media.Latency); err != nil {
		return nil, err
	}
	if s.counts() {
		s.cost.Lists++
	}
	var found []poll.Span
	for i := s.index(from); i < len(s.spans) && s.spans[i].Start <= to; i++ {
		if s.spans[i].End > from && s.visible(i) {
			found = append(found, s.spans[i])
		}
	}
	return found, nil
}
