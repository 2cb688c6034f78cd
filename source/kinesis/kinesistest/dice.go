package kinesistest

import (
	"hash/fnv"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// dice are the source of all that looks random: a hash of the seed and of what is
// decided about. So the same question has the same answer, whoever asks, however
// often and in whatever order.
type dice uint64

// What is decided by dice.
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
)

// on returns the dice for a part of what these are for. The mixing is that of
// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
func (d dice) on(parts ...uint64) dice {
	for _, p := range parts {
		z := (uint64(d) ^ p) + 0x9e3779b97f4a7c15
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		d = dice(z ^ z>>31)
	}
	return d
}

// share returns a number from 0 up to but not including 1.
func (d dice) share() float64 { return float64(d>>11) / (1 << 53) }

// falls tells whether this is among the given share of all.
func (d dice) falls(share float64) bool { return d.share() < share }

// below returns a number from 0 up to but not including n, which is positive.
func (d dice) below(n int64) int64 { return int64(uint64(d) % uint64(n)) }

// upTo returns whole milliseconds from 0 to limit.
func (d dice) upTo(limit time.Duration) time.Duration {
	return time.Duration(d.below(limit.Milliseconds()+1)) * time.Millisecond
}

// around returns whole milliseconds from -limit to limit.
func (d dice) around(limit time.Duration) source.Slot {
	return source.Slot(d.below(2*limit.Milliseconds()+1) - limit.Milliseconds())
}

// shuffle brings the elements into an order of its own (Fisher and Yates).
func shuffle[T any](d dice, all []T) {
	for i := len(all) - 1; i > 0; i-- {
		j := d.on(uint64(i)).below(int64(i) + 1)
		all[i], all[j] = all[j], all[i]
	}
}

func hashOf(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}
