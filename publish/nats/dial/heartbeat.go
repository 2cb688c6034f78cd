package dial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
)

// errUnconfirmed is why a heartbeat gives up a connection. To callers it is a timeout,
// like that of a write.
var errUnconfirmed = fmt.Errorf("the server no longer confirms messages: %w", os.ErrDeadlineExceeded)

// pingPause is for how long there is no other ping after an answer. A ping costs as much as a small
// message, here and in the server.
const pingPause = 20 * time.Millisecond

// errReplaced is how a heartbeat learns that a connection broke between two pings.
var errReplaced = errors.New("it was replaced")

// heartbeat detects a server that no longer reads. Writes to it succeed for a while,
// because the kernels on the way buffer megabytes, which would arrive late. So a ping
// follows each run of messages, one ping at a time. If its answer takes long, new
// messages are dropped. If it takes too long, the connection is given up, and what it
// holds is discarded.
type heartbeat struct {
	conn    *Connection
	timeout time.Duration // until the connection is given up
	start   time.Time
	wake    chan struct{}
	cancel  context.CancelFunc
	done    chan struct{}

	written   atomic.Uint64
	confirmed uint64  // used by the goroutine of run only
	pinged    *socket // last, with success; the same
	current   atomic.Pointer[ping]
}

// ping is a ping without an answer yet.
type ping struct {
	socket *socket
	at     time.Duration // since the start of the heartbeat
}

// startHeartbeat starts the heartbeat of a connection, which runs until stop.
func startHeartbeat(c *Connection, timeout time.Duration) *heartbeat {
	ctx, cancel := context.WithCancel(context.Background())
	h := &heartbeat{
		conn: c, timeout: timeout, start: time.Now(),
		wake: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{}),
	}
	go h.run(ctx)
	return h
}

// stop ends the heartbeat, and waits until its goroutine has ended.
func (h *heartbeat) stop() {
	h.cancel()
	<-h.done
}

// sent notes that a message was written.
func (h *heartbeat) sent() {
	h.written.Add(1)
	select {
	case h.wake <- struct{}{}:
	default: // a ping is due already
	}
}

// late tells whether a ping of the current connection has gone without an answer for a
// quarter of the timeout.
func (h *heartbeat) late() bool {
	p := h.current.Load()
	return p != nil && p.socket == h.conn.dialer.current.Load() && time.Since(h.start)-p.at > h.timeout/4
}

func (h *heartbeat) run(ctx context.Context) {
	defer close(h.done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
			h.ping(ctx)
			_ = pacing.Sleep(ctx, pingPause) // what is written meanwhile, the next ping confirms
		}
	}
}

// ping asks the server for an answer, which comes once it has processed everything that
// was written before.
func (h *heartbeat) ping(ctx context.Context) {
	socket := h.conn.dialer.current.Load()
	h.current.Store(&ping{socket: socket, at: time.Since(h.start)})
	defer h.current.Store(nil)
	written := h.written.Load()
	if h.pinged != nil && h.pinged != socket && written > h.confirmed {
		h.lose(written, errReplaced)
	}
	timed, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	// The client looks at the context only once it has its lock, which a stalled write
	// may hold.
	watch := time.AfterFunc(h.timeout, func() { _ = socket.abort(errUnconfirmed) })
	err := h.conn.Client().FlushWithContext(timed)
	watch.Stop()
	switch {
	case err == nil:
		h.confirmed, h.pinged = written, socket
		return
	case ctx.Err() != nil:
		return
	case errors.Is(err, context.DeadlineExceeded):
		_ = socket.abort(errUnconfirmed)
	}
	h.lose(h.written.Load(), err)
	h.pinged = nil
}

// lose counts what was written and not confirmed when a connection broke.
func (h *heartbeat) lose(written uint64, err error) {
	n := written - h.confirmed
	h.conn.unconfirmed.Add(n)
	h.confirmed = written
	h.conn.log.Warn("the NATS connection broke with messages on the way, which may be lost", "messages", n, "err", err)
}
