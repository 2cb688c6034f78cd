// Package pacing holds the small machines of timing that many packages need: a wait
// that a context can end, a backoff, a share that adapts to throttling, and a limit on
// how often a failure is logged.
//
//	retry := pacing.Backoff{Min: time.Second, Max: time.Minute}
//	outage := pacing.Outage{Every: time.Minute}
//	for {
//		err := ask(ctx)
//		if err == nil {
//			break
//		}
//		if outage.Failed() {
//			log.Warn("no answer, retrying", "err", err)
//		}
//		if err := pacing.Sleep(ctx, retry.Next()); err != nil {
//			return err
//		}
//	}
//	if outage.Recovered() {
//		log.Info("answers arrive again")
//	}
//
// It imports nothing but the standard library, so that any package may import it.
package pacing

import (
	"context"
	"math/rand/v2"
	"time"
)

// Sleep waits for d. It returns ctx's error if ctx ends first, or has ended already.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Jitter returns a random duration between d-by and d+by, so that what starts at the
// same time does not come back at the same time.
func Jitter(d, by time.Duration) time.Duration {
	if by <= 0 {
		return d
	}
	return d - by + rand.N(2*by+1)
}
