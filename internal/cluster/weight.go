package cluster

import (
	"math"
	"time"
)

const (
	// usualRate is how many 1080p frames a core is taken to turn into tensors in a second
	// until that has been measured.
	usualRate = 80
	// minFrames are enough for a measurement.
	minFrames = 100
	// step is the smallest factor by which a weight changes: each change moves streams.
	step = 1.5
)

// Capacity returns the weight, in frames a second, of a replica with so many cores that
// has measured nothing yet.
func Capacity(cores int) float64 { return float64(cores) * usualRate }

// A Scale derives a replica's weight, the frames a second that it can process, from what
// its workers have done. Replicas on equal machines should keep equal weights, so the
// weight changes only in large steps, and only when two measurements in a row agree.
type Scale struct {
	cores  int
	weight float64
	last   float64 // what was measured last, in steps
	busy   time.Duration
	frames uint64
}

// NewScale returns the scale of a replica with so many cores.
func NewScale(cores int) *Scale { return &Scale{cores: cores, weight: Capacity(cores)} }

// Weigh returns the weight. It is given how long the workers have worked since the
// process started, all of them together, and on how many frames.
func (s *Scale) Weigh(busy time.Duration, frames uint64) float64 {
	n, took := frames-s.frames, busy-s.busy
	if n < minFrames || took <= 0 {
		return s.weight
	}
	s.busy, s.frames = busy, frames
	measured := inSteps(float64(s.cores) * float64(n) / took.Seconds())
	if measured == s.last && math.Abs(math.Log(measured/s.weight)) >= math.Log(step)*0.999 {
		s.weight = measured
	}
	s.last = measured
	return s.weight
}

// inSteps rounds a rate to the usual one times a power of step.
func inSteps(rate float64) float64 {
	return usualRate * math.Pow(step, math.Round(math.Log(rate/usualRate)/math.Log(step)))
}
