package consume

import (
	"sync"

	"github.com/cvfeeder/cvfeeder/publish"
)

// How much may wait for Next, for each of the subjects that were subscribed to. The NATS
// client has such limits, too, but counts headers as they were sent: in memory, those that
// are short and many take more than ten times as much.
const (
	pendingMessages = 1024
	pendingBytes    = 64 << 20
)

// queues are the messages that wait for Next, one queue for each subject that was
// subscribed to, so that a flood on one of them leaves the others alone.
type queues struct {
	filled chan struct{} // has a value while there may be something to take

	mu      sync.Mutex
	all     []*queue
	next    int // the queue that is taken from next
	waiting int // messages in all queues
	missed  int
}

// A queue holds messages in the order in which they came.
type queue struct {
	messages []publish.Message
	bytes    int // what they cost
}

// add returns what puts messages into a new queue.
func (qs *queues) add() (put func(publish.Message)) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := new(queue)
	qs.all = append(qs.all, q)
	return func(m publish.Message) { qs.put(q, m) }
}

// put adds a message, unless there is no room for it.
func (qs *queues) put(q *queue, m publish.Message) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	n := cost(m)
	if len(q.messages) > 0 && (len(q.messages) >= pendingMessages || q.bytes+n > pendingBytes) {
		qs.missed++
		release(m)
		return
	}
	q.messages, q.bytes = append(q.messages, m), q.bytes+n
	qs.waiting++
	signal(qs.filled)
}

// take removes the first message of one of the queues. They take turns.
func (qs *queues) take() (publish.Message, bool) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	for range qs.all {
		q := qs.all[qs.next]
		qs.next = (qs.next + 1) % len(qs.all)
		if len(q.messages) == 0 {
			continue
		}
		m := q.messages[0]
		q.messages[0] = publish.Message{} // it may be large
		q.messages, q.bytes = q.messages[1:], q.bytes-cost(m)
		if qs.waiting--; qs.waiting > 0 {
			signal(qs.filled)
		}
		return m, true
	}
	return publish.Message{}, false
}

// clear gives back the memory of what nobody will take.
func (qs *queues) clear() {
	for {
		m, ok := qs.take()
		if !ok {
			return
		}
		release(m)
	}
}

func (qs *queues) lost() int {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	return qs.missed
}

// signal says that there may be something to take.
func signal(filled chan struct{}) {
	select {
	case filled <- struct{}{}:
	default:
	}
}
