package kinesis

import (
	"context"
	"sync"

	"golang.org/x/time/rate"
)

// The points that a stream has a second, for all of its readers together, and
// what a GetImages request costs of them: the images asked for of the media
// points, and these and a base of the metadata points.
const (
	mediaPoints    = 500
	metadataPoints = 10000
	requestPoints  = 400

	leastShare = 1.0 / 16  // what is left of the points after much throttling
	recovery   = 1.0 / 200 // of the points, regained with each answer
)

// A budget spreads a stream's requests so that they keep within its points. Those
// that others use show as throttling: then it halves its share, and regains it
// little by little (additive increase, multiplicative decrease).
type budget struct {
	media, metadata *rate.Limiter

	mu    sync.Mutex
	share float64
}

func newBudget() *budget {
	return &budget{
		media:    rate.NewLimiter(mediaPoints, mediaPoints),
		metadata: rate.NewLimiter(metadataPoints, metadataPoints),
		share:    1,
	}
}

// wait returns when a request for so many images may be sent, or ctx's error.
func (b *budget) wait(ctx context.Context, images int) error {
	if err := b.media.WaitN(ctx, min(images, mediaPoints)); err != nil {
		return err
	}
	return b.metadata.WaitN(ctx, min(requestPoints+images, metadataPoints))
}

// waitListing returns when a request for so many fragments may be sent, or ctx's
// error.
func (b *budget) waitListing(ctx context.Context, fragments int) error {
	return b.metadata.WaitN(ctx, min(fragments, metadataPoints))
}

// answered takes note of the service's answer to a request.
func (b *budget) answered(code string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case code == codeLimit:
		b.share = max(b.share/2, leastShare)
	case b.share < 1:
		b.share = min(b.share+recovery, 1)
	default:
		return
	}
	b.media.SetLimit(rate.Limit(b.share * mediaPoints))
	b.metadata.SetLimit(rate.Limit(b.share * metadataPoints))
}
