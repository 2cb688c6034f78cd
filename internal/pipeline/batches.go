package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// A Batch is what a stream's tensors of an output are rows of.
type Batch struct {
	transform.Batch
	// Output is that of the batch. Those of the streams may differ from it in what is particular
	// to their cameras.
	Output *transform.Output
}

// A batch is where the rows of several streams meet that become one tensor a slot on one subject.
// It has a goroutine while any of the streams runs, which publishes the batches in their order.
type batch struct {
	Batch
	run     *run
	subject string
	changed chan struct{} // there may be something to publish, or no stream any more

	mu      sync.Mutex
	members int // streams that are in it
	all     *transform.Batches
	waiting map[source.Slot][]*row
	kept    int64 // bytes
}

// A row is that of a job, which waits for its batch.
type row struct {
	member  *member
	job     *job
	expires time.Time
}

// A member is a stream in a batch.
type member struct {
	*batch
	stream  *stream
	index   int
	room    chan struct{} // holds a value for each of its rows that wait
	waiting sync.WaitGroup
	rows    map[*row]struct{} // those that wait; guarded by the batch's lock
}

// batches are what a stream has to do with batches. What is read beside the stream, such as
// frames that somebody asked for, is in none: its frames are tensors by themselves.
type batches struct {
	run    *run
	stream *stream
	routes []*member // nil for an output without batches; of the stream's loop only
}

// newBatches returns those of a stream, nil where it is in none.
func (r *run) newBatches(s *stream) *batches {
	if !slices.ContainsFunc(s.Batches, func(b *Batch) bool { return b != nil }) {
		return nil
	}
	return &batches{run: r, stream: s, routes: make([]*member, len(s.Routes))}
}

// of returns the stream's part in the batch of a route, nil where there is none.
func (b *batches) of(route int) *member {
	if b == nil {
		return nil
	}
	return b.routes[route]
}

// join puts the stream into its batches, which wait for it from then on.
func (b *batches) join() {
	if b == nil {
		return
	}
	for i, of := range b.stream.Batches {
		if of != nil {
			b.routes[i] = b.run.join(b.stream, b.stream.Routes[i].Subject, *of)
		}
	}
}

// leave takes the stream out of its batches, once its rows have been published or ctx has ended.
func (b *batches) leave(ctx context.Context) {
	if b == nil {
		return
	}
	for i, m := range b.routes {
		if m != nil {
			m.leave(ctx)
			b.routes[i] = nil
		}
	}
}

// pass tells the batches that the stream has come to the slot of a job, with a row or without one.
func (b *batches) pass(j *job) {
	if b == nil || j.frame.Late {
		return
	}
	for _, m := range b.routes {
		if m != nil {
			m.mu.Lock()
			m.all.Pass(m.index, j.frame.Slot)
			m.mu.Unlock()
			m.wake()
		}
	}
}

// A batchKey is what makes two batches the same one.
type batchKey struct{ subject, spec, streams string }

func (r *run) join(s *stream, subject string, of Batch) *member {
	key := batchKey{subject, of.Output.Fingerprint, fmt.Sprint(of.Batch)}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.batches[key]
	if b == nil {
		b = &batch{
			Batch: of, run: r, subject: subject, changed: make(chan struct{}, 1),
			all: transform.NewBatches(of.Output, of.Batch, r.opts.Buffers), waiting: map[source.Slot][]*row{},
		}
		r.batches[key] = b
		r.loops.Go(func() { b.serve(key) })
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	m := &member{
		batch: b, stream: s, index: slices.Index(of.Streams, s.Name),
		room: make(chan struct{}, of.Slots(s.Grid.Interval())), rows: map[*row]struct{}{},
	}
	b.members++
	b.all.Join(m.index)
	return m
}

func (m *member) leave(ctx context.Context) {
	m.mu.Lock()
	m.all.Leave(m.index)
	m.mu.Unlock()
	m.wake()
	stop := context.AfterFunc(ctx, m.giveUp)
	m.waiting.Wait()
	stop()
	m.mu.Lock()
	m.members--
	m.mu.Unlock()
	m.wake()
}

// giveUp leaves the slots of the rows that wait pending.
func (m *member) giveUp() {
	m.mu.Lock()
	var rows []*row
	for r := range m.rows {
		rows = append(rows, r)
	}
	m.mu.Unlock()
	for _, r := range rows {
		r.end(source.Pending, nil)
	}
}

// rowLate is the reason for which a row is dropped that came after its batch.
const rowLate = "row_late"

// errWaits says that a tensor has become a row, whose batch will end the slot.
var errWaits = errors.New("waits for its batch")

// add makes a job's tensor a row, and returns errWaits. It waits while as many rows of the stream
// wait as come within the wait of a batch.
func (m *member) add(ctx context.Context, j *job, route int) error {
	output, came := m.Output.Name, time.Now()
	if j.frame.Late {
		j.seen.late(output)
		return publish.ErrUnwatched
	}
	select {
	case m.room <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	t := j.result.tensors[route]
	j.result.tensors[route] = nil
	if viewed(j.result.viewers, t.Output) {
		j.result.tensors[route] = cloned(t)
	}
	r := &row{m, j, m.run.expires(m.stream, j)}
	m.mu.Lock()
	err := m.all.Add(m.index, t, came)
	if err == nil {
		j.parts.add()
		m.waiting.Add(1)
		m.rows[r] = struct{}{}
		m.batch.waiting[t.Slot] = append(m.batch.waiting[t.Slot], r)
		m.hold(0)
	}
	m.mu.Unlock()
	if err == nil {
		m.wake()
		return errWaits
	}
	<-m.room
	t.Release()
	if errors.Is(err, transform.ErrBatchGone) {
		j.seen.late(output)
		err = fmt.Errorf("%w: the stream is behind the others by more than batch.wait, which is %v", err, m.Wait)
	}
	return &publish.DropError{Reason: rowLate, Err: fmt.Errorf("batch %s: %w", m.Name, err)}
}

// end ends the part of a row in its slot, unless that has been done.
func (r *row) end(o source.Outcome, told *batched) {
	m := r.member
	m.mu.Lock()
	_, waits := m.rows[r]
	delete(m.rows, r)
	m.mu.Unlock()
	if !waits {
		return
	}
	<-m.room
	m.stream.end(r.job, o, told)
	m.waiting.Done()
}

// hold has the rows that wait counted in the budget, and more bytes. The batch is locked.
func (b *batch) hold(more int64) {
	kept := b.all.Bytes() + more
	b.run.turns.keep(kept - b.kept)
	b.kept = kept
}

func (b *batch) wake() {
	select {
	case b.changed <- struct{}{}:
	default: // somebody else has
	}
}

// serve publishes the batches until no stream is in them any more.
func (b *batch) serve(key batchKey) {
	timer, drained := time.NewTimer(0), b.run.drain.Done()
	defer timer.Stop()
	for {
		t, rows, due := b.next()
		switch {
		case t != nil:
			b.finish(t, rows)
			continue
		case b.over(key):
			return
		case due.IsZero():
			timer.Stop()
		default:
			timer.Reset(time.Until(due))
		}
		select {
		case <-b.changed:
		case <-timer.C:
		case <-drained:
			drained = nil // whatever waits is due
		}
	}
}

// next returns the next batch that is ready, and its rows. If there is none, it returns when one
// will be, zero if nothing waits.
func (b *batch) next() (t *transform.Tensor, rows []*row, due time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.run.drain.Err() != nil || b.members == 0 {
		now = now.Add(b.Wait) // there is no time to wait, or nobody to wait for
	}
	if t = b.all.Take(now); t == nil {
		b.hold(0)
		due, _ = b.all.Due()
		return nil, nil, due
	}
	rows = slices.DeleteFunc(b.waiting[t.Slot], func(r *row) bool {
		_, waits := r.member.rows[r]
		return !waits // its stream has given up
	})
	delete(b.waiting, t.Slot)
	b.hold(int64(len(t.Data)))
	return t, rows, due
}

// over tells whether no stream is in the batches any more, and forgets them then.
func (b *batch) over(key batchKey) bool {
	b.run.mu.Lock()
	defer b.run.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.members > 0 {
		return false
	}
	delete(b.run.batches, key)
	return true
}

// A batched is what became of a batch.
type batched struct {
	output string
	m      publish.Message
	whole  bool
	took   time.Duration
	err    error
}

// finish publishes a batch, and ends its rows.
func (b *batch) finish(t *transform.Tensor, rows []*row) {
	if len(rows) == 0 { // their slots will come again
		t.Release()
		return
	}
	whole := !slices.ContainsFunc(t.Batch, func(r transform.Row) bool { return r.Missing })
	m := publish.NewMessage(b.subject, t)
	m.Expires = rows[0].expires
	begin := time.Now()
	err := b.publish(m)
	told := &batched{t.Output.Name, m, whole, time.Since(begin), err}
	t.Release()
	outcome := source.Published
	switch {
	case err == nil:
	case errors.Is(err, publish.ErrUnwatched):
		outcome = source.Unwatched
	case errors.Is(err, publish.ErrRepeated):
		outcome = source.Skipped
	case dropped(err):
		outcome = source.Dropped
		for _, r := range rows {
			r.member.stream.health.lose(err)
		}
	default:
		outcome = source.Pending
		if !errors.Is(err, b.run.drain.Err()) {
			b.run.stop(fmt.Errorf("batch %s: publishing: %w", b.Name, err))
		}
	}
	for _, r := range rows {
		r.end(outcome, told)
		told = nil // once is enough
	}
}

// publish delivers a batch. Where the delivery has lost earlier ones, it goes on with this one:
// their slots have ended.
func (b *batch) publish(m publish.Message) error {
	err := b.run.opts.Delivery.Publish(b.run.drain, m)
	var lost *publish.LostError
	if !errors.As(err, &lost) {
		return err
	}
	b.run.opts.Log.Warn("batches that NATS had acknowledged are lost, and are not made again", "batch", b.Name, "from", lost.From.String())
	return b.run.opts.Delivery.Publish(b.run.drain, m)
}
