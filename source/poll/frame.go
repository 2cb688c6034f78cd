package poll

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// FrameImages is how many images a frame on request costs.
const FrameImages = 2

// Frame fetches the picture of one slot, whether or not Frames has yielded it or is
// running. The ledger, the grace and the freshness limit have no part in it. Each call
// costs two images of the service. It is safe for concurrent use.
//
// Errors wrap [source.ErrNoMedia] or [source.ErrMedia], or are those of the fetcher. A
// slot in the future, or older than the retention, is refused without asking.
func (p *Poller) Frame(ctx context.Context, s source.Slot) (source.Frame, error) {
	age := p.now().Sub(s)
	if age < 0 && !p.unknown() {
		return source.Frame{}, fmt.Errorf("%w at %v, which is in the future", source.ErrNoMedia, s)
	}
	if p.opts.Retention != nil && !p.unknown() {
		if kept := p.opts.Retention(); kept > 0 && age > kept {
			return source.Frame{}, fmt.Errorf("%w at %v: the stream keeps its media for %v", source.ErrNoMedia, s, kept)
		}
	}
	img, err := p.fetchOne(ctx, s)
	if err != nil {
		return source.Frame{}, err
	}
	return p.frame(s, img), nil
}

// frame returns the frame of a slot.
func (p *Poller) frame(s source.Slot, img Image) source.Frame {
	return source.Frame{
		Stream: p.opts.Stream, Slot: s, Capture: img.Time, Trail: p.State().Trail, Data: img.Data, Recycle: img.Recycle,
	}
}

// fetchOne asks for the image of a slot. The service finds only media of fragments that
// start within the window, so the window begins a whole fragment earlier. Its interval is
// as long, so that only two images are made.
func (p *Poller) fetchOne(ctx context.Context, s source.Slot) (Image, error) {
	back := max(MaxFragment, time.Duration(p.longest.Load()))
	w := Window{Start: s.Add(-back), End: s, Interval: back, Final: true, Cause: source.ForRequest}
	if p.opts.Spend != nil {
		if err := p.opts.Spend(FrameImages); err != nil {
			return Image{}, err
		}
	}
	for img, err := range p.fetcher.Images(ctx, w) {
		switch {
		case errors.Is(err, ErrEmptyWindow):
			return Image{}, p.noMedia(s)
		case err != nil:
			return Image{}, err
		case !near(img.Time, s, min(p.ledger.Ledger.Grid().Interval(), w.Interval)) || errors.Is(img.Err, source.ErrNoMedia):
			continue
		case img.Err != nil:
			return Image{}, fmt.Errorf("%v: %w", s, img.Err)
		}
		return img, nil
	}
	return Image{}, p.noMedia(s)
}

// near tells whether an image of time t stands for a slot, if the next slot is an
// interval away.
func near(t time.Time, s source.Slot, interval time.Duration) bool {
	off := source.SlotAt(t).Sub(s) + interval/2
	return off >= 0 && off < interval
}

// noMedia returns the error of a slot without media, and says which slot is known to have
// some.
func (p *Poller) noMedia(s source.Slot) error {
	newest := p.ledger.Stats().Newest
	switch {
	case newest == 0:
		return fmt.Errorf("%w at %v, or not yet", source.ErrNoMedia, s)
	case s > newest:
		return fmt.Errorf("%w at %v, or not yet: the newest tensor is of %v", source.ErrNoMedia, s, newest)
	}
	return fmt.Errorf("%w at %v", source.ErrNoMedia, s)
}
