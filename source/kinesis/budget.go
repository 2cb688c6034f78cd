package kinesis

import (
	"context"
	"sync"

	"golang.org/x/time/rate"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
)

const (
	leastShare = 1.0 / 16  // of the points, however much is throttled
	recovery   = 1.0 / 200 // of the points, regained with each answer
)

// newShare returns a share of points or requests that other clients use as well. Only
// throttling tells how much they use.
func newShare() pacing.Share { return pacing.Share{Min: leastShare, Step: recovery} }

// adapt adapts a share to an answer of the service, and tells whether it has changed.
func adapt(share *pacing.Share, code string) bool {
	before := share.Value()
	if code == codeLimit {
		share.Throttled()
	} else {
		share.Succeeded()
	}
	return share.Value() != before
}

// A budget delays a stream's requests so that they keep within its share of the points.
type budget struct {
	media, metadata *rate.Limiter

	mu    sync.Mutex
	share pacing.Share
}

func newBudget() *budget {
	return &budget{
		media:    rate.NewLimiter(limits.MediaPoints, limits.MediaPoints),
		metadata: rate.NewLimiter(limits.MetadataPoints, limits.MetadataPoints),
		share:    newShare(),
	}
}

// wait waits until a request for the given number of images may be sent. The error is
// ctx's.
func (b *budget) wait(ctx context.Context, images int) error {
	if err := b.media.WaitN(ctx, min(images, limits.MediaPoints)); err != nil {
		return err
	}
	return b.metadata.WaitN(ctx, min(limits.RequestPoints+images, limits.MetadataPoints))
}

// waitListing waits until a request for the given number of fragments may be sent. The
// error is ctx's.
func (b *budget) waitListing(ctx context.Context, fragments int) error {
	return b.metadata.WaitN(ctx, min(fragments, limits.MetadataPoints))
}

// answered adapts the share to the service's answer to a request.
func (b *budget) answered(code string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if adapt(&b.share, code) {
		b.media.SetLimit(rate.Limit(b.share.Value() * limits.MediaPoints))
		b.metadata.SetLimit(rate.Limit(b.share.Value() * limits.MetadataPoints))
	}
}
