package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/source"
)

// cursors are those of a job's streams, by name, in its record. They implement
// [source.Cursors].
type cursors struct{ *held }

// Load implements [source.Cursors].
func (c cursors) Load(key string) (source.Slot, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.part(key)
	if p == nil || p.Cursor == 0 {
		return 0, false
	}
	return p.Cursor, true
}

// Set implements [source.Cursors].
func (c cursors) Set(key string, cursor source.Slot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.part(key); p != nil {
		p.Cursor = cursor
		if o := c.outings[key]; o != nil {
			o.count()
		}
	}
}

// Rewind implements [source.Cursors].
func (c cursors) Rewind(key string, cursor source.Slot) { c.Set(key, cursor) }

// Flush implements [source.Cursors]: it writes the record.
func (c cursors) Flush(ctx context.Context, _ ...string) error {
	return c.write(ctx, func(*Job) {})
}

// part returns the part of a stream, nil if there is none. Its caller holds the lock.
func (h *held) part(stream string) *Part {
	for i := range h.job.Streams {
		if h.job.Streams[i].Stream == stream {
			return &h.job.Streams[i]
		}
	}
	return nil
}

// now returns the job as it stands.
func (h *held) now() *Job {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.outings {
		o.count()
	}
	return h.job.clone()
}

// write changes the record and writes it. If somebody else has written it, this process has lost
// the job: it stops, and the error wraps [ErrTaken] or [ErrCancelled].
func (h *held) write(ctx context.Context, change func(*Job)) error {
	h.writing.Lock()
	defer h.writing.Unlock()
	h.mu.Lock()
	change(h.job)
	record, err := json.Marshal(h.job)
	id := h.job.ID
	h.mu.Unlock()
	if err != nil {
		return err
	}
	next, err := h.Store.Update(ctx, id, record, h.revision)
	if err != nil && h.Store.Conflict(err) {
		if next, err = h.resolve(ctx, id, record); err != nil {
			if h.stop != nil {
				h.stop(err)
			}
			return err
		}
	}
	if err != nil {
		return err
	}
	h.revision = next
	return nil
}

// resolve finds out who has written the record. A write of this process whose answer was lost is
// no conflict.
func (h *held) resolve(ctx context.Context, id string, record []byte) (uint64, error) {
	now, revision, err := h.Store.Get(ctx, id)
	if err != nil {
		return 0, err
	}
	j, err := read(now)
	switch {
	case err != nil:
		return 0, err
	case j.Status == Cancelled:
		return 0, fmt.Errorf("%s: %w", id, ErrCancelled)
	case j.Owner != h.Owner:
		return 0, fmt.Errorf("%s: %w: %.100s", id, ErrTaken, j.Owner)
	}
	return h.Store.Update(ctx, id, record, revision)
}

// renew writes the record every few seconds, so that nobody takes the job over, and shows it every
// second.
func (h *held) renew(ctx context.Context, show func(*Job)) {
	outage := pacing.Outage{Every: time.Minute}
	wrote := time.Now()
	for pacing.Sleep(ctx, time.Second) == nil {
		if time.Since(wrote) >= renewEvery {
			wrote = time.Now()
			switch err := h.write(ctx, func(*Job) {}); {
			case err == nil:
				if outage.Recovered() {
					h.Log.Info("the record of the replay job is written again", "job", h.job.ID)
				}
			case ctx.Err() == nil && outage.Failed():
				h.Log.Warn("the record of the replay job cannot be written: another process may take it over", "job", h.job.ID, "err", err)
			}
		}
		if show != nil {
			show(h.now())
		}
	}
}
