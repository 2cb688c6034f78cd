package pipeline

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// turns gives the workers to the streams, and the budget of bytes to their frames. The
// next worker is for the stream that has had the least of the workers' time, so a stream
// whose frames take long waits for the others, not the others for it. When that
// stream's frame does not fit into the budget yet, all wait: otherwise small frames could
// keep out a large one for ever.
//
// Excursions in the background get what the others leave: see [Excursion].
type turns struct {
	limit int64
	used  atomic.Int64 // of the limit; changed with mu held
	kept  atomic.Int64 // see keep
	begun time.Time
	// behind is what the jobs in the background use of the limit; guarded by mu.
	behind int64

	mu      sync.Mutex
	changed *sync.Cond // a worker may find something to do, or the end
	waiting []*job     // in the order in which they came
	ended   bool
	// floors are how much time the stream of the last turn had had by then: in front, and in
	// the background. Streams that come later are taken to have had as much: they do not save
	// up turns while they have nothing to do.
	floors [2]time.Duration
}

// A share is how much of the workers' time a stream has had.
type share struct {
	spent   time.Duration // on frames that are done
	running int           // frames that are being worked on
	since   time.Duration // the sum of when these were begun
}

// at returns how much time the stream has had by now.
func (s *share) at(now time.Duration) time.Duration {
	return s.spent + time.Duration(s.running)*now - s.since
}

// A turn is a job's: its part of the budget, and when a worker took it.
type turn struct {
	cost  int64
	taken chan struct{} // closed by the worker
	begun time.Duration
}

// ground returns the index of a job's floor.
func (j *job) ground() int {
	if j.camera.background {
		return 1
	}
	return 0
}

func newTurn() turn { return turn{taken: make(chan struct{})} }

func newTurns(limit int64) *turns {
	t := &turns{limit: max(limit, 1), begun: time.Now()} // with 0, frames would cost nothing
	t.changed = sync.NewCond(&t.mu)
	return t
}

// wait returns true once a worker has taken the job, whose cost is set, and false when ctx
// ended first. A job that costs more than the whole budget has to be the only one.
func (t *turns) wait(ctx context.Context, j *job) bool {
	t.mu.Lock()
	j.turn.cost = min(j.turn.cost, t.most(j))
	s := &j.camera.share
	s.spent += max(0, t.floors[j.ground()]-s.at(time.Since(t.begun)))
	t.waiting = append(t.waiting, j)
	t.mu.Unlock()
	t.changed.Signal()
	select {
	case <-j.turn.taken:
		return true
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.waiting, j)
	if i < 0 {
		return true
	}
	t.waiting = slices.Delete(t.waiting, i, i+1)
	t.changed.Signal() // others may have waited behind it
	return false
}

// next waits for the next job, and returns nil after the end.
func (t *turns) next() *job {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		now := time.Since(t.begun)
		if i := t.first(now); i >= 0 && t.fits(t.waiting[i]) {
			j := t.waiting[i]
			t.waiting = slices.Delete(t.waiting, i, i+1)
			t.begin(j, now)
			return j
		}
		if t.ended {
			return nil
		}
		t.changed.Wait()
	}
}

// most returns how much of the budget a job may use. What is in the background may be held up
// by whoever reads it, and has to leave room for the rest.
func (t *turns) most(j *job) int64 {
	if j.camera.background {
		return max(t.limit/2, 1)
	}
	return t.limit
}

// fits tells whether there is room for a job. One that takes more than the background leaves
// does not wait for the background, which may stand still.
func (t *turns) fits(j *job) bool {
	cost, used := j.turn.cost, t.used.Load()
	if j.camera.background && t.behind+cost > t.most(j) {
		return false
	}
	room := t.limit - min(t.kept.Load(), t.limit/2)
	return used+cost <= room || !j.camera.background && cost > room/2 && used == t.behind
}

// first returns the index of the job whose turn it is, -1 where none waits.
func (t *turns) first(now time.Duration) int {
	first := -1
	var least turnOrder
	for i, j := range t.waiting {
		if o := (turnOrder{j.ground(), j.camera.share.at(now)}); first < 0 || o.before(least) {
			first, least = i, o
		}
	}
	return first
}

// A turnOrder is what decides whose turn it is.
type turnOrder struct {
	ground int
	had    time.Duration
}

func (o turnOrder) before(other turnOrder) bool {
	return o.ground < other.ground || o.ground == other.ground && o.had < other.had
}

func (t *turns) begin(j *job, now time.Duration) {
	s := &j.camera.share
	floor := &t.floors[j.ground()]
	*floor = max(*floor, s.at(now))
	s.running++
	s.since += now
	j.turn.begun = now
	t.use(j, j.turn.cost)
	close(j.turn.taken)
	if len(t.waiting) > 0 {
		t.changed.Signal() // there may be room for another
	}
}

// keep adds to what clips keep of the frames that they need again. It is no part of what is used,
// as no job gives it back, but leaves them less room: half of the budget at least, so that they go
// on.
func (t *turns) keep(bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept.Add(bytes); bytes < 0 {
		t.changed.Signal()
	}
}

// use adds to what is used of the budget.
func (t *turns) use(j *job, cost int64) {
	t.used.Add(cost)
	if j.camera.background {
		t.behind += cost
	}
}

// worked notes that a worker is done with a job, and gives back what only it needed.
func (t *turns) worked(j *job, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &j.camera.share
	s.running--
	s.since -= j.turn.begun
	s.spent += took
	t.reduce(j, j.held())
}

// give gives back all that a job holds of the budget.
func (t *turns) give(j *job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reduce(j, 0)
}

func (t *turns) reduce(j *job, cost int64) {
	if less := j.turn.cost - cost; less > 0 {
		j.turn.cost = cost
		t.use(j, -less)
		t.changed.Signal()
	}
}

// end lets the workers go. By then no job is waiting.
func (t *turns) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.changed.Broadcast()
}

// admit passes a job to a worker once it is its turn and the budget has room for it. It
// returns false when ctx ends first.
func (p *Pipeline) admit(ctx context.Context, j *job) bool {
	j.turn.cost = j.measure(p.opts.Measure)
	return p.turns.wait(ctx, j)
}

// release gives back what a job holds.
func (p *Pipeline) release(j *job) {
	for _, t := range j.result.tensors {
		if t != nil {
			t.Release()
		}
	}
	p.turns.give(j)
}
