package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
)

// tick does once a second what need not be done for each frame.
func (p *Pipeline) tick(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	var cursors unsaved
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			p.load.tick(p.opts.Workers)
			p.report(ctx, now, &cursors)
		}
	}
}

// report announces the gaps since the last time, logs what was lost in a line for
// each stream and outcome, notes which streams move, and saves the cursors.
func (p *Pipeline) report(ctx context.Context, now time.Time, since *unsaved) {
	cursors := map[*stream]source.Slot{}
	for _, s := range p.sorted() {
		s.extend(now)
		cursors[s] = p.cursor(s, s.note(now))
		p.announceAll(ctx, s)
	}
	if p.opts.Cursors == nil {
		return
	}
	err := p.save(ctx, cursors)
	if err == nil || ctx.Err() == nil {
		since.note(p.opts.Log, now, err)
	}
}

// unsaved is a time in which the cursors cannot be saved.
type unsaved struct {
	on     bool
	logged time.Time
}

// note logs when that begins, once a minute, and when it is over.
func (u *unsaved) note(log *slog.Logger, now time.Time, err error) {
	switch {
	case err == nil && u.on:
		log.Info("the cursors are saved again")
	case err != nil && (!u.on || now.Sub(u.logged) >= logAgain):
		u.logged = now
		log.Error("the cursors could not be saved: after a restart, slots may come again", "err", err)
	}
	u.on = err != nil
}

// cursor returns up to where a stream was delivered, its gaps included where they
// are among the tensors.
func (p *Pipeline) cursor(s *stream, st source.Stats) source.Slot {
	if p.opts.Inline {
		return min(st.Cursor, source.Slot(s.told.Load()))
	}
	return st.Cursor
}

// save keeps the cursors, once the broker has all that was published before them.
// A stream that has been removed meanwhile has its last one already.
func (p *Pipeline) save(ctx context.Context, cursors map[*stream]source.Slot) error {
	if err := p.confirm(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	for s, cursor := range cursors {
		if p.streams[s.Name] == s {
			p.keep(s, cursor)
		}
	}
	p.mu.Unlock()
	return p.opts.Cursors.Flush()
}

// confirm returns nil when the broker has all that was published before.
func (p *Pipeline) confirm(ctx context.Context) error {
	if p.opts.Confirm == nil {
		return nil
	}
	return p.opts.Confirm(ctx)
}

// keep sets a stream's cursor, for the next flush.
func (p *Pipeline) keep(s *stream, cursor source.Slot) {
	if p.opts.Cursors != nil && s.Key != "" {
		p.opts.Cursors.Set(s.Key, cursor)
	}
}

// announceAll announces a stream's gaps since the last time, or has them told among
// the tensors.
func (p *Pipeline) announceAll(ctx context.Context, s *stream) {
	if p.opts.Inline {
		if s.told.Load() != int64(s.ledger.Stats().Cursor) {
			s.line.nudge()
		}
		return
	}
	cursor := s.ledger.Stats().Cursor
	for g, ok := s.ledger.NextGap(); ok && g.From < cursor; g, ok = s.ledger.NextGap() {
		p.announce(ctx, s, g)
		s.ledger.Told(g)
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

// note logs what was lost since the last time, and returns how the stream stands.
func (s *stream) note(now time.Time) source.Stats {
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
			args = append(args, "err", s.reason)
		}
		s.log.Warn("slots without a tensor", args...)
	}
	s.last = st
	return st
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
