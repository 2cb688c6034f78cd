package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
)

// tick does once a second what need not be done for each frame.
func (p *Pipeline) tick(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			p.report(ctx, now)
		}
	}
}

// report announces the gaps since the last time, logs what was lost in a line for
// each stream and outcome, notes which streams move, and saves the cursors.
func (p *Pipeline) report(ctx context.Context, now time.Time) {
	cursors := map[string]source.Slot{}
	for _, s := range p.sorted() {
		s.extend(now)
		cursor := s.note(now)
		if p.opts.Inline {
			cursor = min(cursor, source.Slot(s.told.Load()))
		}
		p.announceAll(ctx, s)
		if s.Key != "" {
			cursors[s.Key] = cursor
		}
	}
	if p.opts.Cursors == nil {
		return
	}
	if err := p.save(ctx, cursors); err != nil && ctx.Err() == nil {
		p.opts.Log.Error("the cursors could not be saved: after a restart, slots may come again", "err", err)
	}
}

// save keeps the cursors, once the broker has all that was published before them.
func (p *Pipeline) save(ctx context.Context, cursors map[string]source.Slot) error {
	if p.opts.Confirm != nil {
		if err := p.opts.Confirm(ctx); err != nil {
			return err
		}
	}
	for key, c := range cursors {
		p.opts.Cursors.Set(key, c)
	}
	return p.opts.Cursors.Flush()
}

// announceAll announces a stream's gaps since the last time.
func (p *Pipeline) announceAll(ctx context.Context, s *stream) {
	if p.opts.Inline {
		return // they are announced where the tensors are delivered
	}
	for _, g := range s.ledger.TakeGaps() {
		p.announce(ctx, s, g)
	}
}

// extend keeps time going for a stream that cannot be read: its slots are expected
// all the same.
func (s *stream) extend(now time.Time) {
	end := source.SlotAt(now) + 1
	if s.Poll.To != 0 {
		end = min(end, s.Poll.To)
	}
	s.ledger.Extend(end)
}

// note logs what was lost since the last time, and returns the cursor.
func (s *stream) note(now time.Time) source.Slot {
	st := s.ledger.Stats()
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.Cursor != s.last.Cursor || st.Pending == 0 {
		s.moved = now
	}
	for _, o := range source.Outcomes() {
		n := st.Ended[o] - s.last.Ended[o]
		if n == 0 || o == source.Published {
			continue
		}
		args := []any{"outcome", o.String(), "slots", n}
		if o == source.Undecodable || o == source.Dropped {
			args = append(args, "last", s.reason)
		}
		s.log.Warn("slots without a tensor", args...)
	}
	s.last = st
	return st.Cursor
}

func (p *Pipeline) announce(ctx context.Context, s *stream, g source.Gap) {
	if p.opts.Gaps == nil {
		return
	}
	err := p.opts.Gaps(ctx, publish.Gap{
		Stream: s.Name, From: g.From, To: g.To, Slots: g.Slots, Reason: g.Reason.String(),
	})
	var drop *publish.DropError
	switch {
	case errors.As(err, &drop):
		p.opts.Metrics.PublishErrors.WithLabelValues(drop.Reason).Inc()
	case err != nil && ctx.Err() == nil:
		s.log.Warn("the gap could not be announced", "err", err)
	}
}
