package preflight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/forecast"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// maxMeasured is how many streams are measured. It costs money.
const maxMeasured = 4

// A kind is the streams that are polled in the same way, and what that takes.
type kind struct {
	streams  []string
	interval time.Duration
	behind   bool // a backlog, not the live edge
	late     time.Duration
	of       string
	media    forecast.Media
	cost     forecast.Cost
}

// images are a number of images: how many pictures are made, and how many entries the
// answers have, at most. Nobody has documented which of them are billed.
type images struct{ made, answered float64 }

func (i *images) add(cost forecast.Cost, measured *forecast.Measured, slots float64) {
	made, answered := cost.PerSlot(cost.Made), cost.PerSlot(cost.Answered)
	if measured != nil && measured.Cost.Slots > 0 {
		made = min(made, measured.Cost.PerSlot(measured.Cost.Made))
		answered = max(answered, measured.Cost.PerSlot(measured.Cost.Answered))
	}
	i.made += slots * made
	i.answered += slots * (answered + cost.PerSlot(cost.Again))
}

// poll adds to the load what polling a stream takes: at the live edge for as long as the
// stream goes on, and before that the backlog, if there is one.
func (c *checker) poll(ctx context.Context, l *load, s checked) error {
	now := time.Now()
	ahead, behind := month, time.Duration(0)
	total := &l.month
	if to := s.To.Time; !to.IsZero() {
		ahead, total = max(to.Sub(now), 0), &l.once
	}
	if s.From.Kind == config.StartAt {
		end := now
		if to := s.To.Time; !to.IsZero() && to.Before(now) {
			end = to
		}
		behind = max(end.Sub(s.From.Time), 0)
		if s.retention > 0 {
			behind = min(behind, s.retention)
		}
	}
	if ahead > 0 {
		k, err := c.kind(ctx, l, s, 0)
		if err != nil {
			return err
		}
		slots := s.Active.Open().Share() * float64(ahead) / float64(s.Interval)
		total.add(k.cost, s.measured, slots)
		if s.Limits.Any() && total == &l.month {
			var own images
			own.add(k.cost, s.measured, slots)
			l.limited = append(l.limited, limited{s.Name + s.Prefix, s.Limits, own.answered})
		}
		if use := k.mediaPoints(); use > l.mediaPoints {
			l.busiest, l.mediaPoints, l.metadataPoints = s.Name+s.Prefix, use, k.metadataPoints()
		}
	}
	if behind > 0 {
		k, err := c.kind(ctx, l, s, behind)
		if err != nil {
			return err
		}
		l.once.add(k.cost, nil, float64(behind)/float64(s.Interval))
	}
	return nil
}

// kind returns what polling the stream takes. It is predicted once for all streams that are
// polled in the same way.
func (c *checker) kind(ctx context.Context, l *load, s checked, behind time.Duration) (*kind, error) {
	opts := feeder.PollOptions(s.Stream)
	opts.Stream = ""
	k := &kind{interval: s.Interval, behind: behind > 0, late: opts.Again, media: s.media, of: s.mediaOf}
	key := fmt.Sprintf("%v %+v %+v %v", s.Interval, opts, s.media, behind)
	if known := l.kinds[key]; known != nil {
		known.streams = append(known.streams, s.Name+s.Prefix)
		return known, nil
	}
	opts.Spread = func() time.Duration { return poll.SpreadOver(len(c.streams)) }
	var err error
	k.cost, err = forecast.Predict(ctx, s.media, forecast.Stream{Interval: s.Interval, Options: opts, Behind: behind})
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.Name+s.Prefix, err)
	}
	k.streams = []string{s.Name + s.Prefix}
	l.kinds[key], l.inOrder = k, append(l.inOrder, k)
	return k, nil
}

// mediaPoints and metadataPoints return how many points of the stream are used in a second.
func (k *kind) mediaPoints() float64 {
	return k.cost.PerSlot(k.cost.Asked) / k.interval.Seconds()
}

func (k *kind) metadataPoints() float64 {
	requests := k.cost.PerSlot(k.cost.Requests)*limits.RequestPoints + k.cost.PerSlot(k.cost.Lists)*kinesis.ListingPoints
	return requests/k.interval.Seconds() + k.mediaPoints()
}

// printPolling prints what polling takes for each kind of stream, and what that rests on.
func (c *checker) printPolling(line func(key, format string, args ...any), l load) {
	last := ""
	for i, k := range l.inOrder {
		if i == maxShown {
			line("polling", "and %s of streams", count(len(l.inOrder)-i, "other kind"))
			return
		}
		who := k.streams[0]
		if more := len(k.streams) - 1; more > 0 {
			who += fmt.Sprintf(" and %s more", grouped(float64(more)))
		}
		what := fmt.Sprintf("every %v", k.interval)
		age := fmt.Sprintf("; the median frame arrives %v after its time", k.cost.Age.Round(100*time.Millisecond))
		if k.behind {
			what, age = what+", the backlog", ""
		}
		line("polling", "%s, %s: for each slot %s pictures are made, in answers with %s entries to %s requests%s",
			who, what, ratio(k.cost.PerSlot(k.cost.Made)), ratio(k.cost.PerSlot(k.cost.Answered)), ratio(k.cost.PerSlot(k.cost.Requests)), age)
		if k.late > 0 && !k.behind {
			line("", "while slots of the last %v have no media (late), up to %s entries more for each slot, and a picture for each that turns up", k.late, ratio(k.cost.PerSlot(k.cost.Again)))
		}
		basis := k.basis(c.opts.Connect)
		if basis != last {
			line("", "%s", basis)
		}
		last = basis
	}
}

// basis says what a prediction rests on.
func (k *kind) basis(connected bool) string {
	switch {
	case k.of != "":
		return fmt.Sprintf("as measured of %s: %v", k.of, k.media)
	case connected:
		return fmt.Sprintf("assumed, because it was not measured: %v", k.media)
	default:
		return fmt.Sprintf("assumed: %v. With --connect it is measured", k.media)
	}
}

// ratio formats a number for each slot.
func ratio(v float64) string { return fmt.Sprintf("%.2f", v) }

// errTooShort says that fewer than two fragments became visible while a stream was measured.
var errTooShort = errors.New("fewer than two became visible in that time: try a longer one with --measure")

// measureStreams polls some of the streams for a while, and plans with what it sees. What it is
// about to cost is printed first.
func (c *checker) measureStreams(ctx context.Context) {
	chosen := c.toMeasure()
	if len(chosen) == 0 || c.opts.Measure <= 0 {
		return
	}
	most := 0
	for _, i := range chosen {
		most += forecast.MostImages(c.polled(i), c.opts.Measure)
	}
	c.line("...", "measure", "polling %s for %v, which costs at most %s images: %s; --measure 0 leaves it out",
		count(len(chosen), "stream"), c.opts.Measure, grouped(float64(most)), Price(c.cfg, most))
	_ = c.out.Flush() // the same error comes again at the end
	var all errgroup.Group
	results, errs := make([]forecast.Measured, len(chosen)), make([]error, len(chosen))
	for n, i := range chosen {
		all.Go(func() error {
			stream := c.client.Stream(feeder.ClientOptions(c.streams[i].Stream, nil))
			results[n], errs[n] = forecast.Measure(ctx, stream, c.polled(i), c.opts.Measure, c.streams[i].media)
			return nil
		})
	}
	_ = all.Wait() // none of them returns an error
	if ctx.Err() != nil {
		return
	}
	var good []int
	for n, i := range chosen {
		s := &c.streams[i]
		what := "stream " + s.Name
		if errs[n] != nil {
			c.note(what, "could not be measured: %v", errs[n])
			continue
		}
		m := results[n]
		s.measured = &m
		c.pass(what, "measured: for each slot %s pictures were made, in answers with %s entries; %s images asked for in all",
			ratio(m.Cost.PerSlot(m.Cost.Made)), ratio(m.Cost.PerSlot(m.Cost.Answered)), grouped(float64(m.Spent)))
		if m.Fragments < 2 {
			c.note(what, "its fragments could not be measured: %v", cmp.Or(m.Unseen, errTooShort))
			continue
		}
		s.media, s.mediaOf = m.Media, s.Name
		good = append(good, i)
	}
	c.generalize(good)
}

// polled returns how a stream is polled.
func (c *checker) polled(i int) forecast.Stream {
	s := c.streams[i].Stream
	opts := feeder.PollOptions(s)
	opts.Now, opts.Unsure = c.client.Now, c.client.Unsure
	return forecast.Stream{Interval: s.Interval, Options: opts}
}

// toMeasure returns which streams to measure: one of each kind first.
func (c *checker) toMeasure() []int {
	seen := map[string]bool{}
	var first, others []int
	for i, s := range c.streams {
		if s.picture == nil {
			continue
		}
		opts := feeder.PollOptions(s.Stream)
		opts.Stream = ""
		key := fmt.Sprintf("%v %+v", s.Interval, opts)
		if !seen[key] {
			first = append(first, i)
		} else {
			others = append(others, i)
		}
		seen[key] = true
	}
	all := append(first, others...)
	return all[:min(len(all), maxMeasured)]
}

// generalize plans the streams that were not measured like the one of those measured whose
// fragments are of median length.
func (c *checker) generalize(good []int) {
	if len(good) == 0 {
		return
	}
	slices.SortFunc(good, func(a, b int) int { return int(c.streams[a].media.Fragment - c.streams[b].media.Fragment) })
	typical := c.streams[good[len(good)/2]]
	for i := range c.streams {
		if s := &c.streams[i]; s.mediaOf == "" {
			s.media, s.mediaOf = typical.media, typical.mediaOf
		}
	}
}

// money formats an amount in the currency of the price.
func money(amount float64, p config.Price) string { return number(amount) + " " + p.Currency }

// span formats a range of numbers, or one number where both look the same.
func span(from, to float64) string {
	a, b := number(from), number(to)
	if a == b {
		return a
	}
	return a + " to " + b
}
