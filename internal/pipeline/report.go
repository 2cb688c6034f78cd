package pipeline

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/source"
)

// reportEvery is how often the streams are looked at.
const reportEvery = time.Second

// reports does, every second until ctx ends, what need not be done for each frame.
func (p *Pipeline) reports(ctx context.Context) {
	t := time.NewTicker(reportEvery)
	defer t.Stop()
	outage := pacing.Outage{Every: logAgain}
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			p.load.tick(p.opts.Workers)
			streams := p.sorted()
			for _, s := range streams {
				s.expect(p.opts.Now())
				s.logClock(p.opts.Now())
				s.logLost(false)
				if _, some := s.ledger.NextGap(); some {
					s.queue.wake()
				}
			}
			if len(streams) == 0 && outage.Recovered() {
				p.opts.Log.Info("there are no cursors to save any more: the streams run elsewhere, or have ended")
			}
			due := p.due(streams, now)
			if !p.save(ctx, due, &outage) {
				for _, s := range due {
					s.saved = time.Time{} // is tried again the next time
				}
			}
		}
	}
}

// due returns the streams whose cursors are to be saved now. With thousands of streams
// their saving is spread over time.
func (p *Pipeline) due(streams []*stream, now time.Time) []*stream {
	if p.opts.SaveEvery == nil {
		return streams
	}
	every := p.opts.SaveEvery()
	var due []*stream
	for _, s := range streams {
		if now.Sub(s.saved) < every {
			continue
		}
		s.saved = now.Add(-rand.N(every/2 + 1))
		due = append(due, s)
	}
	return due
}

// save saves the cursors of streams, and tells whether it could. It logs when that
// fails, also by ctx's deadline.
func (p *Pipeline) save(ctx context.Context, streams []*stream, outage *pacing.Outage) bool {
	if len(streams) == 0 {
		return true
	}
	err := p.saveCursors(ctx, streams)
	switch {
	case err == nil:
		if outage.Recovered() {
			p.opts.Log.Info("the cursors are saved again")
		}
	case !errors.Is(ctx.Err(), context.Canceled) && outage.Failed():
		p.opts.Log.Error("the cursors could not be saved: after a restart, slots may be published again", "err", err)
	}
	return err == nil
}

// saveCursors saves the cursors of streams as they are now, once the broker has all
// that was published before them. All of them have the same cursors and the same delivery. A
// stream that has been removed meanwhile has had its last cursor saved already.
func (p *Pipeline) saveCursors(ctx context.Context, streams []*stream) error {
	cursors, delivery := streams[0].cursors, streams[0].delivery
	if cursors == nil {
		return nil
	}
	stats := make([]source.Stats, len(streams))
	for i, s := range streams {
		stats[i] = s.ledger.Stats()
	}
	if err := delivery.Confirm(ctx); err != nil {
		return err
	}
	var keys []string
	p.mu.Lock()
	for i, s := range streams {
		if (s.outing || p.streams[s.Name] == s) && s.Key != "" && s.keep(stats[i], cursors) {
			keys = append(keys, s.Key)
		}
	}
	p.mu.Unlock()
	if keys == nil {
		return nil
	}
	return cursors.Flush(ctx, keys...)
}

// keep gives the stream's cursor to the Cursors, and returns false if they have a newer one:
// a removal may have overtaken a report that looked at the ledger before it. The caller has
// locked the pipeline.
func (s *stream) keep(st source.Stats, cursors source.Cursors) bool {
	switch {
	case st.Rewinds < s.rewinds, st.Rewinds == s.rewinds && st.Told < s.kept:
		return false
	case st.Rewinds > s.rewinds:
		cursors.Rewind(s.Key, st.Told)
	default:
		cursors.Set(s.Key, st.Told)
	}
	s.kept, s.rewinds = st.Told, st.Rewinds
	return true
}
