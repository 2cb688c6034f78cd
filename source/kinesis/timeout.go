package kinesis

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A timeout cancels a context when the service has taken too long. The time during which
// the receiver works on an image does not count: an answer that is read while it arrives
// waits for the receiver, which may have to wait for others.
type timeout struct {
	timer   *time.Timer
	started time.Time
	limit   time.Duration
	left    time.Duration
	explain func(error) error // adds that the time was over, if it was
	stop    func()
}

// withTimeout returns a context that ends after limit, and its running timeout, which has
// to be stopped.
func withTimeout(ctx context.Context, limit time.Duration) (context.Context, *timeout) {
	ctx, cancel := context.WithCancelCause(ctx)
	slow := fmt.Errorf("the service took longer than %v: %w", limit, context.DeadlineExceeded)
	t := &timeout{started: time.Now(), limit: limit, left: limit}
	t.timer = time.AfterFunc(limit, func() { cancel(slow) })
	t.stop = func() {
		t.timer.Stop()
		cancel(nil)
	}
	t.explain = func(err error) error {
		if errors.Is(context.Cause(ctx), slow) {
			return fmt.Errorf("%w: %s", slow, err.Error())
		}
		return err
	}
	return ctx, t
}

// pause stops the clock, unless the time is over.
func (t *timeout) pause() {
	if t.timer.Stop() {
		t.left -= time.Since(t.started)
	}
}

// resume starts the clock again.
func (t *timeout) resume() {
	t.started = time.Now()
	t.timer.Reset(max(t.left, 0))
}

// renew gives the service as much time as in the beginning, unless the time is over.
func (t *timeout) renew() {
	if t.timer.Stop() {
		t.left = t.limit
		t.resume()
	}
}
