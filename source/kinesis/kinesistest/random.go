package kinesistest

import (
	"hash/fnv"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// An rng is the source of everything random: a hash of the seed and of what is decided.
// So the same question has the same answer, whoever asks, however often and in whatever
// order.
type rng uint64

// What is decided at random.
const (
	ofLength uint64 = iota
	ofJitter
	ofLate
	ofLateBy
	ofNever
	ofMediaErrors
	ofOutages
	ofClock
	ofUnordered
	ofDuplicates
	ofOffGrid
	ofOutside
	ofEmptyPages
	ofBadTokens
	ofOthers
	ofEndpoint
	ofErrors
	ofResets
	ofCuts
	ofSlow
	ofTrickle
	ofNoImages
	ofRotation
	ofSize
	ofEarly
	ofErrorFirst
	ofHangs
	ofStalls
	ofSkew
	ofUpdating
	ofDeletions
	ofRetention
	ofHalves
	ofExpired
	ofFrameJitter
	ofFrameDrops
	ofUploads
	ofLater
	ofHidden
	ofHiddenFragments
	ofListJitter
	ofListShort
	ofListLong
	ofListAbsurd
	ofListMissing
	ofListTwice
	ofListLag
	ofListEnds
	ofNoDate
	ofNoPicture
)

// derive returns the rng for a part of what this one decides. The mixing is that of
// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
func (r rng) derive(parts ...uint64) rng {
	for _, p := range parts {
		z := (uint64(r) ^ p) + 0x9e3779b97f4a7c15
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		r = rng(z ^ z>>31)
	}
	return r
}

// fraction returns a number from 0 up to but not including 1.
func (r rng) fraction() float64 { return float64(r>>11) / (1 << 53) }

// chance returns true with the given probability.
func (r rng) chance(probability float64) bool { return r.fraction() < probability }

// below returns a number from 0 up to but not including n, which is positive.
func (r rng) below(n int64) int64 { return int64(uint64(r) % uint64(n)) }

// upTo returns whole milliseconds from 0 to limit.
func (r rng) upTo(limit time.Duration) time.Duration {
	return time.Duration(r.below(limit.Milliseconds()+1)) * time.Millisecond
}

// around returns whole milliseconds from -limit to limit.
func (r rng) around(limit time.Duration) source.Slot {
	return source.Slot(r.below(2*limit.Milliseconds()+1) - limit.Milliseconds())
}

// shuffle puts the elements into a random order (Fisher and Yates).
func shuffle[T any](r rng, all []T) {
	for i := len(all) - 1; i > 0; i-- {
		j := r.derive(uint64(i)).below(int64(i) + 1)
		all[i], all[j] = all[j], all[i]
	}
}

func hashOf(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}
