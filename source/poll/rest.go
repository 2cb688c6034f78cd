package poll

import (
	"context"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// askAudience is how often it is found out whether anybody wants the frames.
const askAudience = time.Second

// An audience is whoever wants the frames.
type audience struct {
	asked source.Slot // when it was last asked for
	heard source.Slot // when there last was one
	known bool        // there was an answer when it was last asked for
}

// rests tells whether nothing is asked for, because nobody has wanted frames for so long.
func (p *Poller) rests(ctx context.Context) bool {
	if p.opts.Wanted == nil {
		return false
	}
	now, a := p.serviceNow(), &p.audience
	if p.untilAsked(now) > 0 {
		return p.resting.Load()
	}
	a.asked = now
	wanted, known := p.opts.Wanted(ctx)
	a.known = known
	switch since := now.Sub(a.heard); {
	case !known: // it stays as it is
	case wanted:
		a.heard = now
		p.resting.Store(false)
	case a.heard == 0, since >= p.opts.Linger, since < 0: // the clock was set back
		p.resting.Store(true)
	}
	return p.resting.Load()
}

// untilAsked returns how long it takes until it is found out again whether anybody wants the
// frames.
func (p *Poller) untilAsked(now source.Slot) time.Duration {
	since := now.Sub(p.audience.asked)
	if since < 0 { // the clock was set back
		return 0
	}
	return askAudience - since
}

// rest ends the slots that nobody can want any more: whoever comes wants those of the time of
// looking back. Frames that are there already are yielded. It returns false when the caller
// wants no more.
func (p *Poller) rest(yield func(source.Frame, error) bool) bool {
	p.misses, p.pollAt, p.recheckAt = 0, 0, 0 // what comes next comes at once
	if p.audience.known && !p.unknown() && !p.unsure() {
		end := p.now().Add(-p.opts.Lookback)
		if p.opts.To != 0 {
			end = min(end, p.opts.To)
		}
		p.ledger.Extend(end)
		p.ledger.GiveUpBefore(end, source.Unwatched)
		p.forgetClues()
	}
	return p.release(yield)
}
