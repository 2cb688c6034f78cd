package pipeline

import "sync"

// queueLength is how many jobs of a stream may wait for their delivery.
const queueLength = 64

// A queue has the jobs of a stream delivered one after the other. It runs a goroutine
// only while it holds some: of thousands of streams most are between two polls, and
// the stacks of their goroutines would take more memory than all else.
type queue struct {
	deliver func(*job)
	room    chan struct{} // holds a value for each job that waits
	running sync.WaitGroup

	mu      sync.Mutex
	waiting []*job
	busy    bool // the goroutine runs
	opened  bool
}

// open opens the queue. deliver is called with each of its jobs, and with nil for each
// wake.
func (q *queue) open(deliver func(*job)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.deliver, q.room, q.opened = deliver, make(chan struct{}, queueLength), true
}

// add appends a job, once there is room for it.
func (q *queue) add(j *job) {
	q.room <- struct{}{}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.put(j)
}

// wake has deliver called with nil, unless the queue is busy anyway or not open.
func (q *queue) wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.opened && !q.busy {
		q.put(nil)
	}
}

func (q *queue) put(j *job) {
	q.waiting = append(q.waiting, j)
	if !q.busy {
		q.busy = true
		q.running.Go(q.run)
	}
}

func (q *queue) run() {
	for {
		j, more := q.next()
		if !more {
			return
		}
		q.deliver(j)
		if j != nil {
			<-q.room
		}
	}
}

func (q *queue) next() (j *job, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.waiting, q.busy = nil, false
		return nil, false
	}
	j, q.waiting[0] = q.waiting[0], nil // which the rest of the slice would keep alive
	q.waiting = q.waiting[1:]
	return j, true
}

// close closes the queue, and returns when all of it has been delivered.
func (q *queue) close() {
	q.mu.Lock()
	q.opened = false
	q.mu.Unlock()
	q.running.Wait()
}
