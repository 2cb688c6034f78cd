package kinesis

import (
	"context"
	"sync"

	"golang.org/x/time/rate"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
	"github.com/cvfeeder/cvfeeder/source/poll"
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
	mediaPoints     int // a second, and at once
	metadataPoints  int

	mu    sync.Mutex
	share pacing.Share
}

// newBudget returns a budget of a part of the points, 0 for all. It is enough for a request at
// least.
func newBudget(part float64) *budget {
	if part == 0 {
		part = 1
	}
	media := max(int(part*limits.MediaPoints), poll.PageSlots)
	metadata := max(int(part*limits.MetadataPoints), limits.RequestPoints+poll.PageSlots)
	return &budget{
		media:          rate.NewLimiter(rate.Limit(media), media),
		metadata:       rate.NewLimiter(rate.Limit(metadata), metadata),
		mediaPoints:    media,
		metadataPoints: metadata,
		share:          newShare(),
	}
}

// wait waits until a request for the given number of images may be sent. The error is
// ctx's.
func (b *budget) wait(ctx context.Context, images int) error {
	if err := b.media.WaitN(ctx, min(images, b.mediaPoints)); err != nil {
		return err
	}
	return b.metadata.WaitN(ctx, min(limits.RequestPoints+images, b.metadataPoints))
}

// waitListing waits until a request for the given number of fragments may be sent. The
// error is ctx's.
func (b *budget) waitListing(ctx context.Context, fragments int) error {
	return b.metadata.WaitN(ctx, min(fragments, b.metadataPoints))
}

// answered adapts the share to the service's answer to a request.
func (b *budget) answered(code string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if adapt(&b.share, code) {
		b.media.SetLimit(rate.Limit(b.share.Value() * float64(b.mediaPoints)))
		b.metadata.SetLimit(rate.Limit(b.share.Value() * float64(b.metadataPoints)))
	}
}
