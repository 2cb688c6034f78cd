package pipeline

import (
	"context"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// tellTime bounds the announcing of a removed stream's last gaps.
const tellTime = time.Second

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
	ctx, stop := context.WithCancel(r.ctx)
	drain, giveUp := context.WithCancel(r.drain)
	s.stop, s.giveUp = stop, giveUp
	r.loops.Go(func() {
		defer giveUp()
		defer stop()
		if err := r.loop(ctx, drain, s); err != nil {
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
func (r *run) Remove(ctx context.Context, name string) (source.Slot, bool) {
	r.mu.Lock()
	s := r.streams[name]
	r.mu.Unlock()
	if s == nil {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.Drain)
	defer cancel()
	s.stop()
	defer context.AfterFunc(ctx, s.giveUp)()
	<-s.ended
	telling, cancel := context.WithTimeout(r.drain, tellTime) // even where ctx has ended
	defer cancel()
	r.announceAll(telling, s)
	cursor := r.cursor(s, s.ledger.Stats())
	confirmed := r.confirm(ctx) == nil
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.streams[name] != s {
		return 0, false // removed by another caller meanwhile
	}
	if confirmed {
		r.keep(s, cursor)
	}
	delete(r.streams, name)
	r.opts.Metrics.Forget(name)
	s.log.Info("stream removed", "cursor", cursor.String())
	return cursor, true
}
