package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/publish"
)

const (
	minRetry = 50 * time.Millisecond
	maxRetry = 2 * time.Second

	// noJetStream is the time without an answer after which JetStream is taken to be
	// turned off.
	noJetStream = 3 * time.Second
	logAgain    = time.Minute
)

// Backoff returns the pauses between the attempts of a JetStream request.
func Backoff() pacing.Backoff { return pacing.Backoff{Min: minRetry, Max: maxRetry} }

// Retry calls f, which makes JetStream requests, until it succeeds, ctx ends, or f fails
// for a reason that a retry does not fix. It waits for a server that is down or slow,
// and for a cluster without a leader. Meanwhile [Conn.Waiting] says so, and the log,
// both with what, which names the request.
func (c *Conn) Retry(ctx context.Context, what string, f func(context.Context) error) error {
	defer c.waiting.Store(nil)
	begin, retry, outage := time.Now(), Backoff(), pacing.Outage{Every: logAgain}
	for {
		err := c.WaitConnected(ctx)
		if err == nil {
			err = f(ctx)
		}
		switch denied := c.Denied(); {
		case err == nil:
			if outage.Recovered() {
				c.control.log.Info("NATS has answered the request", "what", what)
			}
			return nil
		case denied != nil && !c.granted.Load():
			return denied
		case ctx.Err() != nil, !Transient(err) || errors.Is(err, ErrStream), isJetStreamOff(err) && time.Since(begin) >= noJetStream:
			return err
		}
		why := fmt.Sprintf("%s: %v", what, err)
		c.waiting.Store(&why)
		if outage.Failed() {
			c.control.log.Warn("a NATS request failed, retrying", "what", what, "err", err)
		}
		if err := pacing.Sleep(ctx, retry.Next()); err != nil {
			return err
		}
	}
}

// Waiting returns what [Conn.Retry] is waiting for, and why; or which permission that there
// was is missing; or "".
func (c *Conn) Waiting() string {
	if why := c.waiting.Load(); why != nil {
		return *why
	}
	if denied := c.Denied(); denied != nil && c.granted.Load() {
		return denied.Error()
	}
	return ""
}

// Transient tells whether a retry may succeed after an error.
func Transient(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return slices.Contains(temporary, api.ErrorCode)
	}
	var dropped *publish.DropError
	var network net.Error
	if errors.As(err, &dropped) {
		return dropped.Reason != publish.DropClosed && dropped.Reason != publish.DropTooLarge
	}
	return isJetStreamOff(err) || errors.As(err, &network) || slices.ContainsFunc([]error{
		context.DeadlineExceeded, ErrNotConnected, io.EOF, jetstream.ErrNoStreamResponse,
		nats.ErrTimeout, nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded,
		nats.ErrStaleConnection, nats.ErrNoServers,
	}, func(target error) bool { return errors.Is(err, target) })
}

// isJetStreamOff tells whether nobody answered for JetStream. It may be turned off, or
// its servers may be starting.
func isJetStreamOff(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled)
}

// temporary are the errors of JetStream servers that start, elect a leader, or are too
// few at the moment. The client has no names for them.
var temporary = []jetstream.ErrorCode{
	10004, // incomplete results
	10005, // no suitable peers for placement
	10007, // cluster not assigned to this server
	10008, // system temporarily unavailable
	10009, // cluster can not handle request
	10041, // of Raft
	10118, // stream is offline
	10163, // expected last sequence per subject temporarily unavailable
	10194, // stream is offline, with a reason
}
