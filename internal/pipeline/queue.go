package pipeline

import "sync"

// A line has a stream's jobs delivered one after the other. It has a goroutine only
// while there are some: of thousands of streams most are between two polls, and what
// their goroutines would keep of memory is more than all else.
type line struct {
	deliver func(*job)
	room    chan struct{} // for as many jobs as may wait
	running sync.WaitGroup

	mu      sync.Mutex
	waiting []*job
	busy    bool // the goroutine runs
	open    bool
}

// begin opens the line: deliver gets its jobs, and nil for each nudge.
func (l *line) begin(deliver func(*job)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliver, l.room, l.open = deliver, make(chan struct{}, queueLength), true
}

// add puts a job at the end, once there is room for it.
func (l *line) add(j *job) {
	l.room <- struct{}{}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(j)
}

// nudge has deliver called, unless it is busy or the line is not open.
func (l *line) nudge() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open && !l.busy {
		l.put(nil)
	}
}

func (l *line) put(j *job) {
	l.waiting = append(l.waiting, j)
	if !l.busy {
		l.busy = true
		l.running.Go(l.run)
	}
}

func (l *line) run() {
	for {
		j, more := l.next()
		if !more {
			return
		}
		l.deliver(j)
		if j != nil {
			<-l.room
		}
	}
}

func (l *line) next() (j *job, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.waiting, l.busy = nil, false
		return nil, false
	}
	j, l.waiting[0] = l.waiting[0], nil // which the rest would keep
	l.waiting = l.waiting[1:]
	return j, true
}

// end closes the line, and returns when all has been delivered.
func (l *line) end() {
	l.mu.Lock()
	l.open = false
	l.mu.Unlock()
	l.running.Wait()
}
