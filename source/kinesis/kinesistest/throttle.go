package kinesistest

import (
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
)

// A charge is what a request costs of one limit.
type charge struct {
	limit string
	rate  float64 // points a second
	cost  float64 // points
}

// charges returns what the request costs of the limits of its stream and of the account.
func charges(operation string, points int) (stream, account []charge) {
	cost := float64(points)
	switch operation {
	case "GetImages":
		return []charge{{"media", limits.MediaPoints, cost}, {"metadata", limits.MetadataPoints, limits.RequestPoints + cost}}, nil
	case "ListFragments":
		return []charge{{"metadata", limits.MetadataPoints, cost}}, nil
	case "ListStreams":
		return nil, []charge{{operation, limits.AccountLists, 1}}
	default:
		return []charge{{operation, limits.StreamRequests, 1}}, []charge{{operation, limits.AccountRequests, 1}}
	}
}

// throttled tells whether the request is beyond a limit of its stream, whose traffic is
// given, or of the account.
func (s *Server) throttled(c *call, traffic *traffic, faults Faults, points int) bool {
	ofStream, ofAccount := charges(c.record.Operation, points)
	return !traffic.spend(ofStream, faults.Others, c.record.Time) || !s.traffic.spend(ofAccount, 0, c.record.Time)
}

// traffic is what the service remembers of the requests for one stream, or for the
// account.
type traffic struct {
	rng rng

	mu      sync.Mutex
	counts  map[string]uint64  // requests by operation
	buckets map[string]*bucket // by limit
}

func newTraffic(r rng) *traffic {
	return &traffic{rng: r, counts: map[string]uint64{}, buckets: map[string]*bucket{}}
}

// next counts a request, and returns the random numbers that decide about it.
func (t *traffic) next(operation string) rng {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[operation]++
	return t.rng.derive(hashOf(operation), t.counts[operation])
}

// spend takes all charges if there are points enough for all of them, less what other
// clients use, and tells whether there were.
func (t *traffic) spend(charges []charge, others float64, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	free := 1 - t.usedByOthers(others, now)
	for _, c := range charges {
		b := t.buckets[c.limit]
		if b == nil {
			b = &bucket{level: c.rate, last: now}
			t.buckets[c.limit] = b
		}
		b.fill(c.rate*free, now)
		if b.level < min(c.cost, c.rate*free) {
			return false
		}
	}
	for _, c := range charges {
		t.buckets[c.limit].level -= c.cost
	}
	return true
}

// othersFor is how long other clients keep up one rate.
const othersFor = 10 * time.Second

// usedByOthers returns the share of the points that other clients use at now: from 0 to
// twice the average, but never all.
func (t *traffic) usedByOthers(average float64, now time.Time) float64 {
	number := now.UnixMilli() / othersFor.Milliseconds()
	return min(2*average*t.rng.derive(ofOthers, uint64(number)).fraction(), 0.95)
}

// A bucket holds the points of a second. It can be in debt: a request that costs more
// than a bucket holds uses up the points of the next seconds.
type bucket struct {
	level float64
	last  time.Time
}

func (b *bucket) fill(rate float64, now time.Time) {
	b.level = min(rate, b.level+rate*max(now.Sub(b.last), 0).Seconds())
	b.last = now
}
