package deliver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// store publishes one message until it is stored.
func (s *Stored) store(ctx context.Context, m publish.Message) error {
	pos, err := publish.ParsePosition(m.Header)
	if err != nil {
		return fmt.Errorf("message on subject %q: %w", m.Subject, err)
	}
	t := s.state(m.Subject)
	t.writing.Lock()
	defer t.writing.Unlock()
	retry, begin := dial.Backoff(), time.Now()
	p := &pending{Message: m, pos: pos}
	for {
		err := s.try(ctx, t, p)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		reason, final := reasonOf(err)
		if final {
			return err
		}
		s.opts.OnRetry(reason, err)
		if !s.durable && stale(m, begin) {
			return drop(reason, err)
		}
		if err := pacing.Sleep(ctx, retry.Next()); err != nil {
			return err
		}
	}
}

func stale(m publish.Message, begin time.Time) bool {
	if m.Expires.IsZero() {
		return time.Since(begin) >= patience
	}
	return !time.Now().Before(m.Expires)
}

// reasonOf returns the reason of an error, for metrics, and whether a retry is useless.
func reasonOf(err error) (reason string, final bool) {
	var dropped *publish.DropError
	var api *jetstream.APIError
	var lost *publish.LostError
	switch {
	case errors.As(err, &lost):
		return "", true
	case errors.As(err, &dropped):
		return dropped.Reason, dropped.Reason == publish.DropTooLarge || dropped.Reason == publish.DropClosed
	case errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrBadHeaderMsg):
		return "", true
	case errors.Is(err, nats.ErrMaxPayload):
		return publish.DropTooLarge, false
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return publish.DropSlow, false
	case errors.Is(err, dial.ErrRefused):
		return publish.DropRefused, false
	case dial.IsGone(err), errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return publish.DropRefused, false // NATS is there, and JetStream is not
	case dial.IsConflict(err):
		return Conflict, false
	case errors.As(err, &api):
		switch {
		case api.ErrorCode == codeStoreFailed && strings.Contains(api.Description, "maximum"), api.ErrorCode == codeNoStorage, api.ErrorCode == codeNoResources:
			return publish.DropFull, false
		}
		return publish.DropRefused, false
	}
	return publish.DropDisconnected, false
}
