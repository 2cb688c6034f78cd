package pipeline

import "time"

// A turn is how the last frame of a stream that went to a worker came to it.
type turn struct {
	waited time.Duration
	came   time.Time
}

// missed tells whether a job would be stale when its turn comes, if that takes as long
// as the last one did: the turn had better be that of a frame that is not. The longer
// nobody waited, the less is expected.
func (t *turn) missed(j *job, now time.Time) bool {
	if now.Sub(t.came) > j.stream.Poll.Freshness {
		t.waited = 0 // what was before it then is done, or stale
	}
	if !j.stale(now.Add(t.waited)) {
		return false
	}
	t.waited /= 2
	return true
}
