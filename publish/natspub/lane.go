package natspub

import (
	"context"
	"hash/fnv"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
)

// A lane is a connection for tensors. Messages take turns on it.
type lane struct {
	*link
	// turn holds a value while a message is written. Waiting for it, other than
	// for the client's own lock, can end.
	turn  chan struct{}
	pulse *pulse
}

func newLane(l *link) *lane {
	return &lane{link: l, turn: make(chan struct{}, 1), pulse: startPulse(l, l.timeout)}
}

// lane returns the connection for a message: always the same for a stream, so that
// its messages keep their order.
func (c *Conn) lane(m publish.Message) *lane {
	key := m.Subject
	if stream := m.Header[publish.HeaderStream]; len(stream) > 0 {
		key = stream[0]
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return c.data[h.Sum32()%uint32(len(c.data))]
}

// take waits for a turn, at most for the write timeout. The caller gives it back.
func (l *lane) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case l.turn <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(l.timeout)
	defer timer.Stop()
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return drop(publish.DropSlow, errBusy)
	}
}

func (l *lane) give() { <-l.turn }
