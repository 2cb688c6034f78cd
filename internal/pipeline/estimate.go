package pipeline

import "time"

// A waitEstimate foretells how long a frame of a stream waits for a worker, from how
// long the last one waited.
type waitEstimate struct {
	waited time.Duration
	at     time.Time // by the clock of the slots
}

// tooLong tells whether a job would be stale by the time a worker took it: then that
// worker had better take a frame that is not. The longer ago the last wait was, the
// less is expected.
func (w *waitEstimate) tooLong(j *job, now time.Time) bool {
	if now.Sub(w.at) > j.camera.Freshness {
		w.waited = 0 // what was ahead of it then is done by now, or stale
	}
	if !j.stale(now.Add(w.waited)) {
		return false
	}
	w.waited /= 2
	return true
}
