package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/cvfeeder/cvfeeder/publish"
)

// inline publishes the gaps that the cursor has passed on the subjects of the
// stream's tensors. It belongs to the goroutine that delivers these, so that all
// come in order.
func (p *Pipeline) inline(ctx context.Context, s *stream) error {
	if !p.opts.Inline {
		return nil
	}
	cursor := s.ledger.Stats().Cursor
	for {
		g, ok := s.ledger.NextGap()
		if !ok || g.From >= cursor {
			break
		}
		gap := publish.Gap{Stream: s.Name, From: g.From, To: g.To, Slots: g.Slots, Reason: g.Reason.String()}
		for i, o := range s.Outputs {
			err := p.opts.Publisher.Publish(ctx, publish.NewInlineGap(s.Subjects[i], gap, o))
			var drop *publish.DropError
			switch {
			case err == nil:
			case errors.As(err, &drop):
				p.opts.Metrics.PublishErrors.WithLabelValues(drop.Reason).Inc()
			case errors.Is(err, ctx.Err()):
				return nil // the cursor stays before the gap
			default:
				return fmt.Errorf("stream %s: publishing a gap: %w", s.Name, err)
			}
		}
		s.ledger.Told(g)
	}
	s.told.Store(int64(cursor))
	return nil
}
