package pipeline

import (
	"context"
	"sync"
)

// run is a pipeline at work, to which streams can be added.
type run struct {
	*Pipeline
	ctx, drain context.Context //nolint:containedctx // the run's own, which ends before Run returns
	stop       context.CancelCauseFunc
	loops      sync.WaitGroup
}

// start runs a stream of the map. Before the last loop has ended more may be
// started.
func (r *run) start(s *stream) {
	ctx, cancel := context.WithCancel(r.ctx)
	s.stop = cancel
	r.loops.Go(func() {
		defer cancel()
		if err := r.loop(ctx, r.drain, s); err != nil {
			r.stop(err)
		}
		close(s.ended)
	})
}

// Add implements [Set].
func (r *run) Add(st Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.streams[st.Name] != nil {
		return
	}
	s := r.newStream(st)
	r.streams[st.Name] = s
	r.start(s)
	s.log.Info("stream added")
}

// Remove implements [Set].
func (r *run) Remove(name string) {
	r.mu.Lock()
	s := r.streams[name]
	r.mu.Unlock()
	if s == nil {
		return
	}
	s.stop()
	<-s.ended
	r.announceAll(r.drain, s)
	r.mu.Lock()
	delete(r.streams, name)
	r.mu.Unlock()
	r.opts.Metrics.Forget(name)
	s.log.Info("stream removed")
}
