package cluster

import (
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/source"
)

// A stream is one of the group's. Its state is guarded by the lock of the cluster.
type stream struct {
	pipeline.Stream             // with the key of its lease as the Key
	fromNow         bool        // begins now where no replica has run it lately
	end             source.Slot // 0 where there is none

	removing bool      // is being removed, and not started any more
	mine     bool      // belongs to this replica
	running  bool      // runs here
	done     bool      // has reached its end, wherever it ran
	owner    string    // the member that had it when its lease was last looked at
	retryAt  time.Time // when to look at its lease again
}

func newStream(s pipeline.Stream) *stream {
	added := &stream{Stream: s, fromNow: s.Key == ""}
	if added.fromNow {
		added.Key = s.Name
	}
	if s.To != 0 {
		added.end = s.Grid.Ceil(s.To)
	}
	return added
}

// active tells whether the stream runs here, and has more to do.
func (s *stream) active() bool { return s.running && !s.done }

// matching returns the streams that match. match is called with the cluster locked.
func (c *Cluster) matching(match func(*stream) bool) []*stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	var some []*stream
	for _, s := range c.streams {
		if match(s) {
			some = append(some, s)
		}
	}
	return some
}

// update runs a change to the state of streams with the cluster locked.
func (c *Cluster) update(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}
