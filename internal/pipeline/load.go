package pipeline

import (
	"math"
	"sync/atomic"
	"time"
)

// loadOver is how many seconds the share of the workers' time is taken over: media
// comes in bursts of a fragment.
const loadOver = 10

// load is how busy the workers are.
type load struct {
	busy   atomic.Int64  // nanoseconds of all workers together
	frames atomic.Uint64 // that took them
	ratio  atomic.Uint64 // the bits of a float64

	seconds []time.Duration // what busy was, a second apart, newest last; of tick only
}

func (l *load) worked(d time.Duration) {
	l.busy.Add(int64(d))
	l.frames.Add(1)
}

// tick is called every second.
func (l *load) tick(workers int) {
	l.seconds = append(l.seconds, time.Duration(l.busy.Load()))
	if len(l.seconds) > loadOver+1 {
		l.seconds = l.seconds[1:]
	}
	if n := len(l.seconds) - 1; n > 0 {
		share := (l.seconds[n] - l.seconds[0]).Seconds() / float64(n*workers)
		l.ratio.Store(math.Float64bits(min(share, 1)))
	}
}

// Busy returns the share of the workers' time that they have worked in the last ten
// seconds: near 1 there are too few cores, and frames begin to wait.
func (p *Pipeline) Busy() float64 {
	return math.Float64frombits(p.load.ratio.Load())
}

// Worked returns how long the workers have worked since the beginning, and on how many
// frames.
func (p *Pipeline) Worked() (time.Duration, uint64) {
	return time.Duration(p.load.busy.Load()), p.load.frames.Load()
}
