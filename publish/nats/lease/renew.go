package lease

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// renewals keeps this member in the group until ctx ends, by renewing its key every third
// of a lease.
func (l *Leases) renewals(ctx context.Context) {
	every := l.opts.Lease / 3
	for ctx.Err() == nil {
		wait := every
		if err := l.renewOnce(ctx); err != nil {
			wait = every / 4
			if dial.IsGone(err) {
				err = errors.Join(err, l.remake(ctx))
			}
			l.opts.Logger.Debug("the lease could not be renewed, trying again", "err", err)
		}
		l.rewrite(ctx)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-l.renew:
		}
		timer.Stop()
	}
}

// maxReleased is how many keys a renewal announces, so that it fits into a message.
const maxReleased = 2000

// renewOnce writes the member's key. The leases are extended from the time before the
// write, because the server has counted from a later time.
func (l *Leases) renewOnce(ctx context.Context) error {
	l.mu.Lock()
	weight, released := l.weight, l.released
	released = released[:min(len(released), maxReleased)]
	l.released = l.released[len(released):]
	l.mu.Unlock()
	begin := time.Now()
	sequence, err := l.announce(ctx, weight, released)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.released = append(l.released, released...)
		return err
	}
	now := time.Now()
	l.extend(begin.Add(l.opts.Lease*2/3), now)
	l.renewed(sequence, now)
	if len(l.released) > 0 {
		signal(l.renew)
	}
	return nil
}

// announce writes the member's key, and returns the sequence of the write.
func (l *Leases) announce(ctx context.Context, weight float64, released []string) (uint64, error) {
	value, err := json.Marshal(memberText{Weight: weight, Lease: l.opts.Lease.Seconds(), Released: released})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	return l.publishWithTTL(ctx, l.memberKey(), value, l.opts.Lease)
}

// extend makes the leases end at until. Leases that have ended are not extended, because
// others may have acquired them.
func (l *Leases) extend(until, now time.Time) {
	if !now.Before(l.until) {
		l.end()
	}
	l.until = until
	l.expiry.Reset(until.Sub(now))
}

// expire ends the leases, unless they were extended.
func (l *Leases) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !time.Now().Before(l.until) {
		l.end()
	}
}

// end makes this member hold no lease, although it may still be the owner according to
// the bucket.
func (l *Leases) end() {
	some := false
	for _, r := range l.records {
		some = some || !r.unsure
		r.unsure = true
	}
	if some {
		l.opts.Logger.Warn("the leases have ended without an answer to a renewal: the streams stop here", "streams", len(l.records))
		l.tell()
	}
}

// SetWeight changes this member's share of the streams.
func (l *Leases) SetWeight(weight float64) {
	l.mu.Lock()
	changed := l.weight != weight
	l.weight = weight
	l.mu.Unlock()
	if changed {
		signal(l.renew)
	}
}

func (l *Leases) memberKey() string { return l.prefix + "m." + dial.EncodeKey(l.opts.Member) }
