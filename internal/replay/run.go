package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/internal/sanitize"
	"github.com/cvfeeder/cvfeeder/source"
)

const (
	// renewEvery is how often the record of a job is written at least, and abandoned how long
	// it stays as it is before somebody else may take the job over.
	renewEvery = 2 * time.Second
	abandoned  = 8 * time.Second
	lastWrite  = 5 * time.Second
)

// Why a job does not go on.
var (
	// ErrCancelled: it was cancelled.
	ErrCancelled = errors.New("the replay job was cancelled")
	// ErrTaken: another process runs it.
	ErrTaken = errors.New("another process runs the replay job")
	// ErrOver: it is done, or was cancelled before.
	ErrOver = errors.New("the replay job is over")
)

// A Store keeps the records of jobs. Conflict tells whether an error of Update is that somebody
// else has written the record since it was read.
type Store interface {
	Create(ctx context.Context, id string, record []byte) (revision uint64, err error)
	Get(ctx context.Context, id string) (record []byte, revision uint64, err error)
	Update(ctx context.Context, id string, record []byte, revision uint64) (next uint64, err error)
	IDs(ctx context.Context) ([]string, error)
	Conflict(err error) bool
}

// An Outing reads one stream of a job, from its cursor on.
type Outing interface {
	// Run returns nil when all slots have ended.
	Run(ctx context.Context) error
	Stats() source.Stats
}

// A Runner runs jobs.
type Runner struct {
	Store Store
	// Owner is the name of this process in the records.
	Owner string
	// Open opens a stream of a job, which keeps its cursor, by the key of the stream's name.
	Open func(j *Job, p Part, c source.Cursors) (Outing, error)
	// Ending, if set, tells whether an error means that this process is ending: then the job is
	// paused, and has not failed.
	Ending func(error) bool
	// End announces the end of a stream.
	End func(ctx context.Context, j *Job, p Part) error
	Log *slog.Logger
}

// Create writes the record of a new job.
func Create(ctx context.Context, s Store, j *Job) error {
	record, err := json.Marshal(j)
	if err != nil {
		return err
	}
	_, err = s.Create(ctx, j.ID, record)
	return err
}

// Get returns the record of a job.
func Get(ctx context.Context, s Store, id string) (*Job, error) {
	record, _, err := s.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return read(record)
}

// List returns the records of all jobs, the oldest first. One that was deleted meanwhile is left
// out.
func List(ctx context.Context, s Store) ([]*Job, error) {
	ids, err := s.IDs(ctx)
	if err != nil {
		return nil, err
	}
	var all []*Job
	for _, id := range ids {
		if j, err := Get(ctx, s, id); err == nil {
			all = append(all, j)
		} else if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return all, nil
}

// Cancel ends a job for good. Whoever runs it stops within some seconds.
func Cancel(ctx context.Context, s Store, id string) (*Job, error) {
	for {
		record, revision, err := s.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		j, err := read(record)
		if err != nil || j.Status.Over() {
			return j, err
		}
		j.Status, j.Owner = Cancelled, ""
		if record, err = json.Marshal(j); err != nil {
			return nil, err
		}
		if _, err = s.Update(ctx, id, record, revision); err == nil || !s.Conflict(err) {
			return j, err
		}
	}
}

// A held job is one that this process runs.
type held struct {
	*Runner
	stop func(error)

	writing  sync.Mutex // held while the record is written; guards revision
	revision uint64

	mu  sync.Mutex
	job *Job
	// outings are those that run, with what had ended before each.
	outings map[string]*outing
}

type outing struct {
	Outing
	part   *Part
	before map[string]uint64
}

// Run runs a job until it is done. It waits until nobody else runs it. The job as it stands is
// given to show, unless that is nil: at the beginning, about once a second, and at the end.
//
// The error wraps [ErrCancelled], [ErrTaken] or [ErrOver], or is that of a stream; then the job
// has failed. If ctx ends, the job is paused, and the error is ctx's cause.
func (r *Runner) Run(ctx context.Context, id string, show func(*Job)) error {
	h, err := r.take(ctx, id)
	if err != nil {
		return err
	}
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	h.stop = stop
	if show != nil {
		show(h.now())
	}
	renewing, stopRenewing := context.WithCancel(running)
	var renewal sync.WaitGroup
	renewal.Go(func() { h.renew(renewing, show) })
	err = h.runAll(running)
	stopRenewing()
	renewal.Wait()
	if cause := context.Cause(running); err != nil && cause != nil {
		err = cause
	}
	if errors.Is(err, ErrCancelled) || errors.Is(err, ErrTaken) {
		return err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
	defer cancel()
	wrote := h.write(last, func(j *Job) {
		j.Owner = ""
		switch {
		case err == nil:
			j.Status, j.Error = Done, ""
		case ctx.Err() != nil, r.Ending != nil && r.Ending(err):
			j.Status = Paused
		default:
			j.Status, j.Error = Failed, sanitize.Text(err.Error())
		}
	})
	if show != nil {
		show(h.now())
	}
	if err == nil {
		err = wrote
	}
	return err
}

// take makes this process the owner of a job. If another one runs it, it waits until that has not
// written the record for some time.
func (r *Runner) take(ctx context.Context, id string) (*held, error) {
	var seen uint64
	var since time.Time
	told := false
	for {
		record, revision, err := r.Store.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		j, err := read(record)
		if err != nil {
			return nil, err
		}
		if j.Status.Over() {
			return nil, fmt.Errorf("%w: %s is %s", ErrOver, id, j.Status)
		}
		if revision != seen {
			seen, since = revision, time.Now()
		}
		if j.Owner != "" && j.Owner != r.Owner && time.Since(since) < abandoned {
			if !told {
				told = true
				r.Log.Info("another process runs the replay job: waiting until it stops", "job", id, "owner", j.Owner)
			}
			if err := pacing.Sleep(ctx, time.Second); err != nil {
				return nil, context.Cause(ctx)
			}
			continue
		}
		if j.Owner != "" && j.Owner != r.Owner {
			r.Log.Warn("taking over a replay job whose process has stopped", "job", id, "owner", j.Owner)
		}
		h := &held{Runner: r, job: j, revision: revision, outings: map[string]*outing{}}
		err = h.write(ctx, func(j *Job) { j.Owner, j.Status, j.Error = r.Owner, Running, "" })
		if err == nil {
			return h, nil
		}
		if !errors.Is(err, ErrTaken) {
			return nil, err
		}
	}
}

// runAll runs the streams of a job, some at a time.
func (h *held) runAll(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var running sync.WaitGroup
	free := make(chan struct{}, Parallel)
	for i := range h.job.Streams {
		part := &h.job.Streams[i]
		h.mu.Lock()
		done := part.Done
		h.mu.Unlock()
		if done {
			continue
		}
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		running.Go(func() {
			defer func() { <-free }()
			if err := h.runOne(ctx, part); err != nil {
				stop(err)
			}
		})
	}
	running.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// runOne reads a stream to its end.
func (h *held) runOne(ctx context.Context, part *Part) error {
	h.mu.Lock()
	o := &outing{part: part, before: h.job.ended(part)}
	name, copied := part.Stream, *part
	h.mu.Unlock()
	var err error
	if o.Outing, err = h.Open(h.job, copied, cursors{h}); err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	h.mu.Lock()
	h.outings[name] = o
	h.mu.Unlock()
	err = o.Run(ctx)
	h.mu.Lock()
	o.count()
	delete(h.outings, name)
	h.mu.Unlock()
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	if err := h.End(ctx, h.job, copied); err != nil {
		return fmt.Errorf("stream %s: announcing its end: %w", name, err)
	}
	return h.write(ctx, func(*Job) { part.Done = true })
}

// ended returns the outcomes of the slots before a part's cursor. The record may count some of
// those after it, which were delivered before the process stopped, and end again.
func (j *Job) ended(p *Part) map[string]uint64 {
	before, sum := map[string]uint64{}, uint64(0)
	for outcome, n := range p.Ended {
		before[outcome] = n
		sum += n
	}
	published := source.Published.String()
	if over := sum - min(sum, j.slotsBefore(p)); over > 0 {
		before[published] -= min(over, before[published])
	}
	return before
}

// count takes note of what has ended.
func (o *outing) count() {
	st := o.Stats()
	ended := map[string]uint64{}
	for outcome, n := range o.before {
		ended[outcome] = n
	}
	for _, outcome := range source.Outcomes() {
		if n := st.Ended[outcome]; n > 0 {
			ended[outcome.String()] += n
		}
	}
	o.part.Ended = ended
}
