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

// TestStartError: what the config does not mend is no wrong usage.
func TestStartError(t *testing.T) {
	ended, end := context.WithCancelCause(t.Context())
	cause := errors.New("the cause")
	end(cause)
	for _, tt := range []struct {
		err   error
		ended bool
		code  int
	}{
		{fmt.Errorf("x: %w", dial.ErrStream), false, ExitUsage},
		{fmt.Errorf("x: %w", errRange), false, ExitUsage},
		{&dial.PermissionError{Missing: []dial.Permission{{Verb: "publish", Subject: "x"}}}, false, ExitRefused},
		{dial.ErrNotConnected, false, 0},
		{dial.ErrStream, true, 0},
	} {
		ctx := t.Context()
		if tt.ended {
			ctx = ended
		}
		err := startError(ctx, tt.err)
		code := 0
		if exit := (*ExitError)(nil); errors.As(err, &exit) {
			code = exit.Code
		}
		if code != tt.code || tt.ended && !errors.Is(err, cause) {
			t.Errorf("%v: %v with the code %d", tt.err, err, code)
		}
	}
}
