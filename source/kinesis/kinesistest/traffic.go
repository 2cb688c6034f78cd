package kinesistest

import (
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
)

// traffic is what the service remembers of the requests for one stream, or for the
// account.
type traffic struct {
	rolls dice

	mu      sync.Mutex
	counts  map[string]uint64 // requests by operation
	buckets map[string]*bucket
}

func newTraffic(rolls dice) *traffic {
	return &traffic{rolls: rolls, counts: map[string]uint64{}, buckets: map[string]*bucket{}}
}

// next counts a request, and returns the dice that decide about it.
func (t *traffic) next(operation string) dice {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[operation]++
	return t.rolls.on(hashOf(operation), t.counts[operation])
}

// A toll is what a request takes of a limit.
type toll struct {
	limit string
	rate  float64 // points a second
	cost  float64
}

// pay takes the tolls where there are points enough for all of them, less what
// others use, and tells whether there were.
func (t *traffic) pay(tolls []toll, others float64, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	free := 1 - t.usedByOthers(others, now)
	for _, toll := range tolls {
		b := t.buckets[toll.limit]
		if b == nil {
			b = &bucket{level: toll.rate, last: now}
			t.buckets[toll.limit] = b
		}
		b.fill(toll.rate*free, now)
		if b.level < min(toll.cost, toll.rate*free) {
			return false
		}
	}
	for _, toll := range tolls {
		t.buckets[toll.limit].level -= toll.cost
	}
	return true
}

// othersFor is how long others keep up one rate.
const othersFor = 10 * time.Second

// usedByOthers returns the share of the points that others use at now: from 0 to
// twice the average, but never all.
func (t *traffic) usedByOthers(average float64, now time.Time) float64 {
	number := now.UnixMilli() / othersFor.Milliseconds()
	return min(2*average*t.rolls.on(ofOthers, uint64(number)).share(), 0.95)
}

// A bucket holds a second's points. It can be in debt: a request that costs more
// than a bucket holds takes what the next seconds bring.
type bucket struct {
	level float64
	last  time.Time
}

func (b *bucket) fill(rate float64, now time.Time) {
	b.level = min(rate, b.level+rate*max(now.Sub(b.last), 0).Seconds())
	b.last = now
}

// tolls returns what the request takes of the limits of its stream and of the
// account.
func tolls(operation string, points int) (stream, account []toll) {
	cost := float64(points)
	switch operation {
	case "GetImages":
		return []toll{{"media", limits.MediaPoints, cost}, {"metadata", limits.MetadataPoints, limits.RequestPoints + cost}}, nil
	case "ListFragments":
		return []toll{{"metadata", limits.MetadataPoints, cost}}, nil
	case "ListStreams":
		return nil, []toll{{operation, limits.AccountLists, 1}}
	default:
		return []toll{{operation, limits.StreamRequests, 1}}, []toll{{operation, limits.AccountRequests, 1}}
	}
}
