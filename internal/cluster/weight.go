package cluster

import (
	"math"
	"time"
)

const (
	// usual is how many frames a core decodes in a second while none has been
	// measured: 1080p to a model's input.
	usual = 80
	// leastFrames are enough for a measurement.
	leastFrames = 100
	// step is the least factor by which a weight changes: each change moves streams.
	step = 1.5
)

// Capacity returns the weight of a replica of so many cores that has measured nothing
// yet, in frames a second.
func Capacity(cores int) float64 { return float64(cores) * usual }

// A Scale reckons a replica's weight, the frames a second that it can decode, from what
// its workers have done. The weight changes in large steps only, and when two
// measurements in a row agree, as replicas on equal machines are to keep equal ones.
type Scale struct {
	cores  int
	weight float64
	next   float64 // what the measurement before would have had
	busy   time.Duration
	frames uint64
}

// NewScale returns the scale of a replica of so many cores.
func NewScale(cores int) *Scale { return &Scale{cores: cores, weight: Capacity(cores)} }

// Weigh returns the weight, where the workers have worked for so long, on so many
// frames, since the beginning.
func (s *Scale) Weigh(busy time.Duration, frames uint64) float64 {
	n, took := frames-s.frames, busy-s.busy
	if n < leastFrames || took <= 0 {
		return s.weight
	}
	s.busy, s.frames = busy, frames
	measured := quantum(float64(s.cores) * float64(n) / took.Seconds())
	if measured == s.next && math.Abs(math.Log(measured/s.weight)) >= math.Log(step)*0.999 {
		s.weight = measured
	}
	s.next = measured
	return s.weight
}

// quantum rounds to a power of the step, times the usual.
func quantum(x float64) float64 {
	return usual * math.Pow(step, math.Round(math.Log(x/usual)/math.Log(step)))
}
