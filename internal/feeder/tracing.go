package feeder

import (
	"context"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/tracing"
)

// tracesTime limits the export of the last traces.
const tracesTime = 3 * time.Second

// startTraces returns the tracer that the environment asks for, or nil, and a function
// that exports the last traces. Tensors are delivered without it, so errors are only
// logged.
func (f *Feeder) startTraces(ctx context.Context) (*tracing.Tracer, func()) {
	tracer, err := tracing.Start(ctx, tracing.Options{Version: Version(), Log: f.log})
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
