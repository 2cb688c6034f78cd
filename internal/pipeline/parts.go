package pipeline

import (
	"sync"

	"github.com/cvfeeder/cvfeeder/source"
)

// parts are what has to end before the slot of a job does: what its stream publishes itself, and
// its rows of batches.
type parts struct {
	mu      sync.Mutex
	left    int
	outcome source.Outcome
	batches []*batched
}

// newParts returns those of a slot without rows.
func newParts() parts { return parts{left: 1, outcome: ranks[0]} }

// ranks are outcomes of parts; that of the slot is the last of them.
var ranks = [...]source.Outcome{
	source.Unwatched, source.Unchanged, source.Skipped, source.Published,
	source.NoMedia, source.MediaError, source.Undecodable, source.Stale, source.Dropped, source.Pending,
}

func rank(o source.Outcome) int {
	for i, ranked := range ranks {
		if ranked == o {
			return i
		}
	}
	return len(ranks)
}

func (p *parts) add() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left++
}

// end ends a part, and tells whether it was the last. told, unless nil, is the batch that it
// belongs to.
func (p *parts) end(o source.Outcome, told *batched) (last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rank(o) > rank(p.outcome) {
		p.outcome = o
	}
	if told != nil {
		p.batches = append(p.batches, told)
	}
	p.left--
	return p.left == 0
}

// end ends a part of a job's slot, and the slot with its last part.
func (s *stream) end(j *job, part source.Outcome, told *batched) {
	if !j.parts.end(part, told) {
		return
	}
	outcome := j.parts.outcome
	if outcome != source.Pending && !j.frame.Late { // which has ended already
		s.ledger.Resolve(j.frame.Slot, outcome)
	}
	for _, b := range j.parts.batches {
		j.seen.batched(b)
	}
	j.seen.ended(outcome, j.result.err)
}
