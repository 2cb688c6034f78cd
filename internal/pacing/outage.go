package pacing

import (
	"sync"
	"time"
)

// An Outage says which failures of one thing are worth a line in the log: the first,
// then one every so often while it goes on, and after that the first success. Its
// methods may be called concurrently.
//
// Of failures that have no end, such as those of single messages, only Failed is
// called: then there is at most one line in each Every.
type Outage struct {
	// Every is the time between two lines while failures go on; 0 logs only the first.
	Every time.Duration
	// Apart is the least time from the last line about one outage to the first about
	// the next, for what fails and recovers again and again. Default: none.
	Apart time.Duration

	mu     sync.Mutex
	failed bool      // at the last call
	logged bool      // this outage has had a line
	last   time.Time // of the last line about a failure
}

// Failed takes note of a failure, and tells whether to log it.
func (o *Outage) Failed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	began := !o.failed
	o.failed = true
	now := time.Now()
	var due bool
	switch {
	case o.last.IsZero():
		due = true
	case began:
		due = now.Sub(o.last) >= o.Apart
	default:
		due = o.Every > 0 && now.Sub(o.last) >= o.Every
	}
	if due {
		o.logged, o.last = true, now
	}
	return due
}

// Recovered takes note of a success, and tells whether to log that the outage is over:
// the first time after a failure that was logged.
func (o *Outage) Recovered() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	due := o.logged
	o.failed, o.logged = false, false
	return due
}
