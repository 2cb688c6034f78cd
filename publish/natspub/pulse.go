package natspub

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// pulse notices a server that no longer reads. What is written to it still goes
// into the buffers of the kernels on the way, megabytes of it, and would arrive
// late. So each run of messages is followed by a ping, one at a time: when the
// answer takes long, new messages are dropped, and when it takes too long the
// connection is given up, with all that it holds.
type pulse struct {
	link    *link
	timeout time.Duration // until the connection is given up
	start   time.Time
	wake    chan struct{}
	cancel  context.CancelFunc
	done    chan struct{}

	written   atomic.Uint64
	confirmed uint64 // by the goroutine of run only
	current   atomic.Pointer[beat]
}

// beat is a ping that has not been answered yet.
type beat struct {
	wire *wire
	at   time.Duration
}

// startPulse starts the pulse of l, which runs until stop.
func startPulse(l *link, timeout time.Duration) *pulse {
	ctx, cancel := context.WithCancel(context.Background())
	p := &pulse{
		link: l, timeout: timeout, start: time.Now(),
		wake: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{}),
	}
	go p.run(ctx)
	return p
}

// stop ends the pulse and waits for it.
func (p *pulse) stop() {
	p.cancel()
	<-p.done
}

// sent says that a message was written.
func (p *pulse) sent() {
	p.written.Add(1)
	select {
	case p.wake <- struct{}{}:
	default: // a ping is due already
	}
}

// late tells whether the connection in use has left a ping unanswered for a
// quarter of the timeout.
func (p *pulse) late() bool {
	b := p.current.Load()
	return b != nil && b.wire == p.link.dialer.current.Load() && time.Since(p.start)-b.at > p.timeout/4
}

func (p *pulse) run(ctx context.Context) {
	defer close(p.done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
			p.ping(ctx)
		}
	}
}

// ping asks the server for an answer, which comes after it has processed all
// that was written before.
func (p *pulse) ping(ctx context.Context) {
	wire := p.link.dialer.current.Load()
	p.current.Store(&beat{wire: wire, at: time.Since(p.start)})
	defer p.current.Store(nil)
	written := p.written.Load()
	timed, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	// The client looks at the context only once it has its lock, which a write that
	// stalls may hold.
	watch := time.AfterFunc(p.timeout, func() { _ = wire.abort(errUnconfirmed) })
	err := p.link.nc.FlushWithContext(timed)
	watch.Stop()
	switch {
	case err == nil:
		p.confirmed = written
		return
	case ctx.Err() != nil:
		return
	case errors.Is(err, context.DeadlineExceeded):
		_ = wire.abort(errUnconfirmed)
	}
	written = p.written.Load()
	p.link.log.Warn("the NATS connection broke with messages on the way, which may be lost",
		"messages", written-p.confirmed, "err", err)
	p.confirmed = written
}
