package kinesis

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A watch cancels a context when the service has taken too long. The time that the
// receiver of an image takes does not count: an answer that is read while it
// arrives waits for the receiver, who may have to wait for others.
type watch struct {
	timer   *time.Timer
	started time.Time
	left    time.Duration
	explain func(error) error // says so, where the time was over
	stop    func()
}

// watched returns a context that is done after limit, and the watch on it, which
// is running. It has to be stopped.
func watched(ctx context.Context, limit time.Duration) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	slow := fmt.Errorf("the service took longer than %v: %w", limit, context.DeadlineExceeded)
	w := &watch{started: time.Now(), left: limit}
	w.timer = time.AfterFunc(limit, func() { cancel(slow) })
	w.stop = func() {
		w.timer.Stop()
		cancel(nil)
	}
	w.explain = func(err error) error {
		if errors.Is(context.Cause(ctx), slow) {
			return fmt.Errorf("%w: %s", slow, err.Error())
		}
		return err
	}
	return ctx, w
}

// pause halts the watch, unless the time is over.
func (w *watch) pause() {
	if w.timer.Stop() {
		w.left -= time.Since(w.started)
	}
}

// resume lets the watch go on.
func (w *watch) resume() {
	w.started = time.Now()
	w.timer.Reset(max(w.left, 0))
}
