package pipeline

import (
	"context"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// tellTime bounds the announcement of a removed stream's last gaps.
const tellTime = time.Second

// A Set is the running streams.
type Set interface {
	// Add starts a stream, unless one of this name is running.
	Add(Stream)
	// Remove stops a stream, finishes what it has in flight while ctx lasts, for
	// [Options.Drain] at most, saves its cursor, and forgets it. It returns the
	// cursor, from which another stream in its place resumes; false where no stream
	// of this name is running. Where ctx has ended before the call, the stream's last
	// gaps are not announced, and the cursor stays before them.
	Remove(ctx context.Context, name string) (cursor source.Slot, was bool)
}

// A run is a pipeline at work, to which streams can be added.
type run struct {
	*Pipeline
	ctx, drain context.Context //nolint:containedctx // the run's own, which ends before Run returns
	stop       context.CancelCauseFunc
	loops      sync.WaitGroup
}

// enter returns the run that an excursion is part of.
func (p *Pipeline) enter(o *Outing) *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outings[o] = struct{}{}
	return p.running
}

// leave ends an excursion.
func (p *Pipeline) leave(o *Outing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.outings, o)
}

// start opens and runs a stream, unless one of this name is running; initial says that
// Run was given it. Its caller has locked the pipeline. Streams are started only while a
// loop runs, or before the first.
func (r *run) start(st Stream, initial bool) *stream {
	if r.streams[st.Name] != nil {
		return nil
	}
	s := r.openStream(st, r.opts.Cursors, r.opts.Observers)
	s.initial, s.clips = initial, r.newClips(st)
	r.streams[st.Name] = s
	ctx, stop := context.WithCancel(r.ctx)
	drain, giveUp := context.WithCancel(r.drain)
	s.ends.stop, s.ends.giveUp = stop, giveUp
	r.loops.Go(func() {
		defer giveUp()
		defer stop()
		if err := r.loop(ctx, drain, s); err != nil {
			r.stop(err)
		}
		close(s.ends.ended)
	})
	return s
}

// Add implements [Set].
func (r *run) Add(st Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.start(st, false); s != nil {
		s.log.Info("stream added")
	}
}

// Remove implements [Set].
func (r *run) Remove(ctx context.Context, name string) (source.Slot, bool) {
	r.mu.Lock()
	s := r.streams[name]
	r.mu.Unlock()
	if s == nil {
		return 0, false
	}
	left := ctx.Err() != nil // to others, the gaps as well
	ctx, cancel := context.WithTimeout(ctx, r.opts.Drain)
	defer cancel()
	s.ends.stop()
	defer context.AfterFunc(ctx, s.ends.giveUp)()
	<-s.ends.ended
	if !left {
		telling, cancel := context.WithTimeout(r.drain, tellTime) // even where ctx has ended
		defer cancel()
		if err := r.tellGaps(telling, s); err != nil && !s.withdraw(err) {
			r.stop(err)
		}
	}
	cursor := s.ledger.Stats().Told
	err := r.saveCursors(ctx, []*stream{s})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.streams[name] != s {
		return 0, false // another caller has removed it meanwhile
	}
	delete(r.streams, name)
	s.seen.removed()
	if err != nil && ctx.Err() == nil {
		s.log.Warn("stream removed, but its cursor could not be saved", "cursor", cursor.String(), "err", err)
	} else {
		s.log.Info("stream removed", "cursor", cursor.String())
	}
	return cursor, true
}
