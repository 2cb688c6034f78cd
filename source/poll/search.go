package poll

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// Where the newest media is searched for, by the camera's clock.
const (
	// Within nearSearch of the present, ahead and behind, every place is looked at. Beyond,
	// and up to farSearch, there are as many looks as the distance doubles: media is found
	// if there is enough of it.
	nearSearch = time.Hour
	farSearch  = 64 * time.Hour
	// Every fullSearch-th look searches everywhere. The others look only shortly after the
	// newest media that is known.
	fullSearch = 3

	placeEvery = time.Minute // between the images of a place, which is MaxWindow long
	nearImages = 15          // of a place that is looked at more closely
	edgeStep   = time.Second // how precisely the end of media is found
)

// newestReceived returns the newest media by the service's clock, 0 if it has lately
// received none.
func (p *Poller) newestReceived(ctx context.Context) (source.Slot, error) {
	now := p.serviceNow()
	every := recently / nearImages
	newest, err := p.probe(ctx, p.camera.received, now.Add(-recently), now, every)
	if err != nil || newest == 0 {
		return 0, err
	}
	return p.narrow(ctx, p.camera.received, newest, newest.Add(every), every)
}

// receivedSince returns the newest media by the service's clock, of which there is some at
// a given instant.
func (p *Poller) receivedSince(ctx context.Context, at source.Slot) (source.Slot, error) {
	return p.narrow(ctx, p.camera.received, at, at.Add(2*edgeStep), 2*edgeStep)
}

// search returns the newest media after an instant, 0 if it found none. The camera's clock
// probably stands where the newest media is of the instant likely.
func (p *Poller) search(ctx context.Context, after, likely source.Slot) (source.Slot, error) {
	if likely > after {
		high := likely.Add(2 * edgeStep)
		edge, err := p.narrow(ctx, p.fetcher, likely.Add(-2*edgeStep), high, 2*edgeStep)
		if err != nil || edge > likely.Add(-2*edgeStep) && edge < high.Add(-edgeStep) {
			return edge, err
		}
	}
	if after != 0 {
		// First up to the present, as the service may refuse to answer about the future.
		near, future := after.Add(MaxWindow), max(after, min(p.serviceNow(), after.Add(MaxWindow)))
		for _, w := range []Window{{Start: after + 1, End: future}, {Start: future + 1, End: near}} {
			if edge, err := p.searchPlace(ctx, w.Start, w.End, max(w.End.Sub(w.Start)/nearImages, 2*edgeStep)); err != nil || edge != 0 {
				return edge, err
			}
		}
	}
	if p.camera.looks%fullSearch != 0 {
		return 0, nil
	}
	for d := range places() {
		from, to := max(likely.Add(d-MaxWindow), after+1), likely.Add(d)
		if edge, err := p.searchPlace(ctx, from, to, placeEvery); err != nil || edge != 0 {
			return edge, err
		}
	}
	return 0, nil
}

// searchPlace looks at images between two instants that are some time apart. If it finds
// any, it returns the newest of the media that begins there.
func (p *Poller) searchPlace(ctx context.Context, from, to source.Slot, every time.Duration) (source.Slot, error) {
	newest, err := p.probe(ctx, p.fetcher, from, to, every)
	if err != nil || newest == 0 {
		return 0, err
	}
	return p.findEdge(ctx, newest, to, every)
}

// places yields the distances from the present at which media is searched for: each is
// the end of a place.
func places() iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		both := func(d time.Duration) bool { return yield(-d) && yield(d) }
		if !yield(0) {
			return
		}
		for d := MaxWindow; d <= farSearch; d *= 2 {
			if !both(d) {
				return
			}
		}
		for d := MaxWindow; d <= nearSearch; d += MaxWindow {
			if n := d / MaxWindow; n&(n-1) != 0 && !both(d) {
				return
			}
		}
	}
}

// findEdge returns the end of the media whose newest known image is that of low. Images
// were asked for up to high, every so often.
func (p *Poller) findEdge(ctx context.Context, low, high source.Slot, every time.Duration) (source.Slot, error) {
	place := func(at source.Slot) (source.Slot, error) {
		return p.probe(ctx, p.fetcher, at.Add(-MaxWindow/2), at.Add(MaxWindow/2), placeEvery)
	}
	for step := MaxWindow; high.Sub(low) <= every; step *= 2 {
		beyond := low.Add(step)
		newest, err := place(beyond)
		switch {
		case err != nil:
			return 0, err
		case newest > low:
			low, high = newest, newest
		default:
			high = beyond
		}
	}
	for high.Sub(low) > MaxWindow {
		middle := low.Add(high.Sub(low) / 2)
		newest, err := place(middle)
		switch {
		case err != nil:
			return 0, err
		case newest > low:
			low = newest
		default:
			high = middle
		}
	}
	return p.narrow(ctx, p.fetcher, low, high, MaxWindow/nearImages)
}

// narrow returns the newest media between two instants, or the first of them. It looks at
// images that are closer together each time.
func (p *Poller) narrow(ctx context.Context, f Fetcher, low, high source.Slot, every time.Duration) (source.Slot, error) {
	longest := max(p.longestFragment(), MaxFragment)
	for step := every; ; {
		newest, err := p.probe(ctx, f, low.Add(-longest), min(high, low.Add(MaxWindow-longest)), step)
		if err != nil {
			return 0, err
		}
		low = max(low, newest)
		high = low.Add(step)
		if step == edgeStep {
			return low, nil
		}
		step = max(step/5, edgeStep)
	}
}

// probe returns the newest image from one instant to another, of those that are some time
// apart; 0 if there is none.
func (p *Poller) probe(ctx context.Context, f Fetcher, from, to source.Slot, every time.Duration) (newest source.Slot, err error) {
	if to < from {
		return 0, nil
	}
	for img, err := range p.imagesOf(ctx, f, Window{Start: from, End: to, Interval: every}) {
		if errors.Is(err, ErrEmptyWindow) {
			return 0, nil
		}
		if err != nil && ctx.Err() == nil && from > p.serviceNow() {
			return 0, nil // a service may refuse to answer about the future
		}
		if err != nil {
			return 0, err
		}
		if img.Recycle != nil {
			img.Recycle()
		}
		at := source.SlotAt(img.Time)
		if !errors.Is(img.Err, source.ErrNoMedia) && at >= from && at <= to {
			newest = max(newest, at)
		}
	}
	return newest, nil
}
