package feeder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// TestFits: a server that takes too little ends the run at the start only.
func TestFits(t *testing.T) {
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
		f := &Feeder{cfg: &config.Config{Delivery: config.Delivery{Oversize: tt.oversize}}, log: slog.New(slog.NewTextHandler(&log, nil))}
		var ended error
		var largest atomic.Pointer[largestOf]
		largest.Store(&largestOf{100, "cam-1 detector"})
		tt.limits(f.fits(&largest, func(err error) { ended = err }))
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
