package feeder

import (
	"context"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/source"
)

// bucketPace is how often a cursor in a bucket is written. One that lags costs work after
// a crash, but repeats nothing: the subjects show what they hold.
const bucketPace = 5 * time.Second

// flushTimeout bounds a flush.
const flushTimeout = 5 * time.Second

// pacedCursors flush the cursor of each key only so often. A key whose flush fails is
// tried again at the next one.
type pacedCursors struct {
	source.Cursors
	pace  func() time.Duration
	close func() error // saves all, and ends the use of the cursors; nil only flushes

	mu      sync.Mutex
	changed map[string]bool      // keys set since they were flushed
	due     map[string]time.Time // when to flush a key again
}

func newPacedCursors(c source.Cursors, pace func() time.Duration, end func() error) *pacedCursors {
	return &pacedCursors{Cursors: c, pace: pace, close: end, changed: map[string]bool{}, due: map[string]time.Time{}}
}

// Set implements [pipeline.Cursors].
func (p *pacedCursors) Set(key string, cursor source.Slot) {
	before, _ := p.Load(key)
	p.Cursors.Set(key, cursor)
	if after, _ := p.Load(key); after != before {
		p.mu.Lock()
		p.changed[key] = true
		p.mu.Unlock()
	}
}

// Flush implements [pipeline.Cursors].
func (p *pacedCursors) Flush() error {
	now := time.Now()
	return p.flush(func(key string) bool { return !now.Before(p.due[key]) })
}

// flush writes those of the changed keys that are due.
func (p *pacedCursors) flush(isDue func(key string) bool) error {
	var keys []string
	p.mu.Lock()
	for key := range p.changed {
		if isDue(key) {
			keys = append(keys, key)
			delete(p.changed, key)
		}
	}
	p.mu.Unlock()
	if len(keys) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	err := p.Cursors.Flush(ctx, keys...)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range keys {
		if err != nil {
			p.changed[key] = true
			continue
		}
		pace := p.pace()
		p.due[key] = time.Now().Add(pacing.Jitter(pace, pace/4))
	}
	return err
}

// Close saves all cursors, and ends their use.
func (p *pacedCursors) Close() error {
	if p.close != nil {
		return p.close()
	}
	return p.flush(func(string) bool { return true })
}
