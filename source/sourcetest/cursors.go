package sourcetest

import (
	"context"
	"maps"
	"sync"

	"github.com/cvfeeder/cvfeeder/source"
)

// Cursors are [source.Cursors] in memory. The zero value is empty and ready to use.
type Cursors struct {
	Fail func() error // where set, called by Flush, which saves nothing if it fails

	mu         sync.Mutex
	set, saved map[string]source.Slot
}

// Restart returns the cursors as the next run of a process finds them: those that were
// flushed.
func (c *Cursors) Restart() *Cursors {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &Cursors{set: maps.Clone(c.saved), saved: maps.Clone(c.saved)}
}

// Load implements [source.Cursors].
func (c *Cursors) Load(key string) (source.Slot, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cursor, ok := c.set[key]
	return cursor, ok
}

// Set implements [source.Cursors].
func (c *Cursors) Set(key string, cursor source.Slot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.set == nil {
		c.set = map[string]source.Slot{}
	}
	c.set[key] = cursor
}

// Rewind implements [source.Cursors].
func (c *Cursors) Rewind(key string, cursor source.Slot) { c.Set(key, cursor) }

// Flush implements [source.Cursors].
func (c *Cursors) Flush(ctx context.Context, _ ...string) error {
	err := ctx.Err()
	if err == nil && c.Fail != nil {
		err = c.Fail()
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.saved = maps.Clone(c.set)
	return nil
}
