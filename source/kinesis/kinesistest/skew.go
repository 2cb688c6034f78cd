package kinesistest

import (
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// Now returns the present by the service's clock, which everything that the service tells
// goes by: its media, the header Date of its answers, and the age of a signature.
func (s *Server) Now() time.Time {
	now := s.opts.Now()
	return now.Add(s.opts.Faults.skew(now, s.began, rng(s.opts.Seed)))
}

// skew returns how far the service's clock is ahead at now, if it began at the given time.
func (f Faults) skew(now, began time.Time, r rng) time.Duration {
	skew := f.Skew + time.Duration(f.SkewDrift*float64(now.Sub(began)))
	if f.SkewJump == 0 {
		return skew
	}
	every, length := f.SkewEvery.Milliseconds(), f.SkewFor.Milliseconds()
	number := period(source.SlotAt(now), source.Slot(every))
	random := r.derive(ofSkew, uint64(number))
	begin := random.derive(0).below(max(every-length, 0) + 1)
	if at := now.UnixMilli() - number*every; at < begin || at >= begin+length {
		return skew
	}
	if random.derive(1).chance(0.5) {
		return skew + f.SkewJump
	}
	return skew - f.SkewJump
}
