package feeder

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/internal/replay"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/publish/nats/jobs"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
)

const (
	// lookForJobs is how often a feeder looks for jobs that nobody runs, and firstLook how long
	// after the start at first, so that the streams have begun.
	lookForJobs = 10 * time.Second
	firstLook   = 2 * time.Second
)

// byFeeder is [replay.Job.By] of the jobs that feeders run.
const byFeeder = "feeder"

// A replayer runs replay jobs beside the live streams: those that requests have begun, here or at
// another feeder that has stopped. Nothing in JetStream is looked at or made before the first
// request, unless the bucket of the jobs is there.
type replayer struct {
	parts   *parts
	builder *builder

	mu      sync.Mutex
	replays *Replays
	ctx     context.Context //nolint:containedctx // of serve; nil while it does not run
	jobs    sync.WaitGroup
	running map[string]bool
}

func newReplayer(p *parts, b *builder) *replayer {
	return &replayer{parts: p, builder: b, running: map[string]bool{}}
}

// serve runs the jobs of feeders until ctx ends, and waits for them then.
func (r *replayer) serve(ctx context.Context) {
	r.mu.Lock()
	r.ctx = ctx
	r.mu.Unlock()
	defer r.jobs.Wait()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ctx = nil
	}()
	outage := pacing.Outage{Every: time.Minute}
	for wait := firstLook; pacing.Sleep(ctx, wait) == nil; wait = lookForJobs {
		switch err := r.look(ctx); {
		case err == nil:
			outage.Recovered()
		case ctx.Err() == nil && outage.Failed():
			r.parts.log.Warn("replay jobs cannot be looked up", "err", err)
		}
	}
}

// look runs the jobs that wait for a feeder.
func (r *replayer) look(ctx context.Context) error {
	r.mu.Lock()
	open := r.replays != nil
	r.mu.Unlock()
	if !open {
		may := r.allowed(ctx) == nil
		if !may || !r.made(ctx) {
			return nil
		}
	}
	replays, err := r.open(ctx)
	if err != nil {
		return err
	}
	all, err := replay.List(ctx, replays.store)
	if err != nil {
		return err
	}
	for _, j := range all {
		if j.By == byFeeder && (j.Status == replay.Running || j.Status == replay.Paused) {
			r.run(replays, j.ID)
		}
	}
	return nil
}

// made tells whether anybody has made the bucket of the jobs. Without JetStream, nobody has.
func (r *replayer) made(ctx context.Context) bool {
	made, err := jobs.Exists(ctx, r.parts.broker.conn)
	return err == nil && made
}

// allowed returns why the NATS user may not run replays, nil if it may. If the server does not
// tell, it may not: what it refuses could end the run.
func (r *replayer) allowed(ctx context.Context) error {
	c := r.parts.plan.Config.Replay
	user, err := preflight.AskUser(ctx, r.parts.broker.conn.Control())
	if err != nil {
		return err
	}
	return user.Check(preflight.NeedsReplay(c.Stream, jobs.Bucket).With(preflight.NeedsCreate(c.Stream, jobs.Bucket)))
}

// open returns what runs jobs.
func (r *replayer) open(ctx context.Context) (*Replays, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.replays != nil {
		return r.replays, nil
	}
	replays, err := r.parts.openReplays(ctx, r.builder, true)
	if err == nil {
		r.replays = replays
	}
	return replays, err
}

// run runs a job in a goroutine, unless it runs already.
func (r *replayer) run(replays *Replays, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx := r.ctx
	if ctx == nil || ctx.Err() != nil || r.running[id] {
		return
	}
	r.running[id] = true
	r.jobs.Go(func() {
		defer func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			delete(r.running, id)
		}()
		log := r.parts.log.With("job", id)
		log.Info("a replay job waits for its turn")
		switch err := replays.Run(ctx, id, r.count()); {
		case err == nil:
			r.parts.metrics.ReplayJob("done")
			log.Info("the replay job is done")
		case errors.Is(err, replay.ErrOver), errors.Is(err, replay.ErrCancelled), errors.Is(err, replay.ErrTaken), ctx.Err() != nil:
			r.parts.metrics.ReplayJob("stopped")
			log.Info("the replay job does not go on here", "why", err)
		default:
			r.parts.metrics.ReplayJob("failed")
			log.Error("the replay job has failed: go on with it by \"cvfeeder replay --job\"", "err", err)
		}
	})
}

// count returns what counts the slots of a job as they end.
func (r *replayer) count() func(*replay.Job) {
	var before map[string]uint64
	return func(j *replay.Job) {
		now := j.Progress().Outcomes
		for outcome, n := range now {
			if before != nil && n > before[outcome] {
				r.parts.metrics.ReplaySlots(outcome, n-before[outcome])
			}
		}
		before = now
	}
}

// A replayAnswer is what is answered to a request for a job.
type replayAnswer struct {
	Job      string           `json:"job"`
	Status   replay.Status    `json:"status"`
	Subjects string           `json:"subjects,omitempty"`
	Streams  []string         `json:"streams,omitempty"`
	Estimate *replay.Estimate `json:"estimate,omitempty"`
}

// ask answers a request for a job.
func (r *replayer) ask(ctx context.Context, q frames.ReplayRequest) (any, error) {
	if err := r.allowed(ctx); err != nil {
		return nil, &frames.Error{Code: frames.CodeUpstream, Text: "this cvfeeder cannot replay: " + err.Error()}
	}
	replays, err := r.open(ctx)
	if err != nil {
		return nil, &frames.Error{Code: frames.CodeUpstream, Text: err.Error()}
	}
	if q.Cancel != "" {
		j, err := replay.Cancel(ctx, replays.store, q.Cancel)
		if errors.Is(err, jobs.ErrUnknown) {
			return nil, &frames.Error{Code: frames.CodeNotFound, Text: err.Error()}
		}
		if err != nil {
			return nil, err
		}
		return replayAnswer{Job: j.ID, Status: j.Status}, nil
	}
	j, err := r.plan(ctx, replays, q)
	if err != nil {
		r.parts.metrics.ReplayJob("refused")
		return nil, err
	}
	if err := replays.Create(ctx, j); err != nil {
		return nil, err
	}
	r.parts.log.Info("a replay job was asked for", "job", j.ID, "takes", j.Estimate.String())
	r.parts.metrics.ReplayJob("begun")
	r.run(replays, j.ID)
	return replayAnswer{Job: j.ID, Status: replay.Running, Subjects: publish.ReplayPrefix + j.ID + ".>", Streams: j.Names(), Estimate: &j.Estimate}, nil
}

// plan returns the job of a request, within what a job may cost.
func (r *replayer) plan(ctx context.Context, replays *Replays, q frames.ReplayRequest) (*replay.Job, error) {
	request := ReplayRequest{Streams: q.Streams, From: q.From, To: q.To, Interval: q.Interval, Outputs: q.Outputs, By: byFeeder}
	if q.Quota != "" {
		var share config.Share
		if err := share.UnmarshalText([]byte(q.Quota)); err != nil {
			return nil, &frames.Error{Code: frames.CodeBadRequest, Text: "quota: " + err.Error()}
		}
		request.Quota = float64(share)
	}
	j, err := replays.Plan(ctx, request)
	var wrong *ExitError
	if errors.As(err, &wrong) {
		return nil, &frames.Error{Code: frames.CodeBadRequest, Text: err.Error()}
	}
	if err != nil {
		return nil, err
	}
	if most := r.parts.plan.Config.Replay.ImagesPerJob; j.Estimate.Images > uint64(most) {
		return nil, &frames.Error{Code: frames.CodeBusy, Text: fmt.Sprintf(
			"the job would need about %d images (%.2f %s), and replay.images_per_job allows %d: ask for less, or run it with \"cvfeeder replay\"",
			j.Estimate.Images, j.Estimate.Money, j.Estimate.Currency, most)}
	}
	for _, part := range j.Streams {
		if err := r.builder.purse.Allow(part.Stream); err != nil {
			return nil, &frames.Error{Code: frames.CodeBusy, Text: err.Error()}
		}
	}
	return j, nil
}
