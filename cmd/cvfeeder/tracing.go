package main

import (
	"context"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/tracing"
)

// tracesTime bounds the export of the last traces.
const tracesTime = 3 * time.Second

// startTraces returns the tracer that the environment asks for, nil where it asks for
// none, and what exports the last of the traces. The tensors do without: what is wrong
// is logged.
func (f *feeder) startTraces(ctx context.Context) (*tracing.Tracer, func()) {
	tracer, err := tracing.Start(ctx, tracing.Options{Version: version, Log: f.log})
	if err != nil {
		f.log.Warn("there are no traces", "err", err)
	}
	return tracer, func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), tracesTime)
		defer cancel()
		if err := tracer.Shutdown(closing); err != nil {
			f.log.Warn("the last traces may be missing", "err", err)
		}
	}
}
