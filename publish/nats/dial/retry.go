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
	"golang.org/x/time/rate"

	"github.com/cvfeeder/cvfeeder/publish"
)

// The first and the longest pause before something is tried again.
const (
	MinRetry = 50 * time.Millisecond
	MaxRetry = 2 * time.Second
)

const (
	// noJetStream is how long nobody may answer for JetStream until it is taken to be
	// turned off.
	noJetStream = 3 * time.Second
	logAgain    = time.Minute
)

// Retry calls f, which asks JetStream for something, until it succeeds, ctx ends, or f
// fails for a reason that trying again does not change. what names it in the log. A
// server that is away or slow, or a cluster without a leader, is waited for; that is
// logged, and [Conn.Waiting] says so meanwhile. f may be called again from its
// beginning.
func (c *Conn) Retry(ctx context.Context, what string, f func(context.Context) error) error {
	defer c.waiting.Store(nil)
	seldom := rate.Sometimes{First: 1, Interval: logAgain}
	begin, waited := time.Now(), false
	for wait := MinRetry; ; wait = min(2*wait, MaxRetry) {
		err := c.WaitConnected(ctx)
		if err == nil {
			err = f(ctx)
		}
		switch denied := c.Denied(); {
		case err == nil:
			if waited {
				c.control.log.Info("NATS has done what was waited for", "what", what)
			}
			return nil
		case denied != nil:
			return denied
		case ctx.Err() != nil, !Transient(err) || errors.Is(err, ErrStream), isJetStreamOff(err) && time.Since(begin) >= noJetStream:
			return err
		}
		waited = true
		why := fmt.Sprintf("%s: %v", what, err)
		c.waiting.Store(&why)
		seldom.Do(func() { c.control.log.Warn("NATS does not do what is asked, trying on", "what", what, "err", err) })
		if !Pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

// Waiting returns what [Conn.Retry] waits for, and why, or "".
func (c *Conn) Waiting() string {
	if why := c.waiting.Load(); why != nil {
		return *why
	}
	return ""
}

// Transient tells whether an error may be over when one tries again.
func Transient(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return slices.Contains(passing, api.ErrorCode)
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

// isJetStreamOff tells whether nobody has answered for JetStream, as where it is off,
// and for a moment where its servers start.
func isJetStreamOff(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled)
}

// passing are the errors of a JetStream whose servers start, change their leader, or
// are too few at the moment. The client does not name them.
var passing = []jetstream.ErrorCode{
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

// Pause waits for a time, and tells whether ctx lasted as long.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
