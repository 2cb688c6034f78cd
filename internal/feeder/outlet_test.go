package feeder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// TestPayloadLimit: a server that takes too little ends the run at the start only.
func TestPayloadLimit(t *testing.T) {
	for _, tt := range []struct {
		oversize config.Oversize
		limits   func(tell func(int))
		ends     bool
		logs     string
	}{
		{config.OversizeReject, func(tell func(int)) { tell(99) }, true, ""},
		{config.OversizeReject, func(tell func(int)) { tell(100) }, false, ""},
		{config.OversizeChunk, func(tell func(int)) { tell(99) }, false, ""},
		{config.OversizeReject, func(tell func(int)) {
			for range dataConnections() {
				tell(100)
			}
			tell(99)
		}, false, "cam-1 detector"},
	} {
		var log bytes.Buffer
		var ended error
		plan := Plan{
			Config:  &config.Config{Delivery: config.Delivery{Oversize: tt.oversize}},
			Largest: LargestMessage{90, "cam-1 detector"},
		}
		l := newPayloadLimit(plan, 10, slog.New(slog.NewTextHandler(&log, nil)), func(err error) { ended = err })
		tt.limits(l.connected)
		var exit *ExitError
		if ends := errors.As(ended, &exit) && exit.Code == ExitUsage; ends != tt.ends || (tt.logs == "") != (log.Len() == 0) || !strings.Contains(log.String(), tt.logs) {
			t.Errorf("%s: ended with %v, logged %q", tt.oversize, ended, log.String())
		}
	}
}

// TestStartError: what the config does not mend is no wrong usage, and where the run was ended
// meanwhile, the cause of that decides.
func TestStartError(t *testing.T) {
	denied := &dial.PermissionError{Missing: []dial.Permission{{Verb: "publish", Subject: "x"}}}
	for _, tt := range []struct {
		err, ended error
		code       int
	}{
		{fmt.Errorf("x: %w", dial.ErrStream), nil, ExitUsage},
		{fmt.Errorf("x: %w", errRange), nil, ExitUsage},
		{denied, nil, ExitRefused},
		{dial.ErrNotConnected, nil, ExitFailed},
		{dial.ErrStream, errors.New("the cause"), ExitFailed},
		{dial.ErrStream, denied, ExitRefused},
	} {
		ctx, end := context.WithCancelCause(t.Context())
		if tt.ended != nil {
			end(tt.ended)
		}
		err := startError(ctx, tt.err)
		end(nil)
		if code := ExitCode(err); code != tt.code || tt.ended != nil && !errors.Is(err, tt.ended) {
			t.Errorf("%v, ended by %v: %v with the code %d", tt.err, tt.ended, err, code)
		}
	}
}
