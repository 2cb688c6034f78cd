package feeder

import (
	"context"
	"log/slog"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/internal/tracing"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// tracesTime limits the export of the last traces.
const tracesTime = 3 * time.Second

// traces are the traces that the environment asks for, or none.
type traces struct {
	// observers follow the frames.
	observers []pipeline.Observer
	// fetcher follows the requests of a stream.
	fetcher func(stream string, f poll.Fetcher) poll.Fetcher
	// overhead is the bytes that a trace adds to each message.
	overhead int
	// end exports the last traces.
	end func()
}

// startTraces starts the traces. Tensors are delivered without them, so errors are only
// logged.
func startTraces(ctx context.Context, log *slog.Logger) *traces {
	none := &traces{fetcher: func(_ string, f poll.Fetcher) poll.Fetcher { return f }, end: func() {}}
	tracer, err := tracing.Start(ctx, tracing.Options{Version: Version(), Log: log})
	if err != nil {
		log.Warn("there are no traces", "err", err)
		return none
	}
	if tracer == nil {
		return none
	}
	return &traces{
		observers: []pipeline.Observer{tracer}, fetcher: tracer.Fetcher, overhead: publish.TraceOverhead,
		end: func() {
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), tracesTime)
			defer cancel()
			if err := tracer.Shutdown(closing); err != nil {
				log.Warn("the last traces may be missing", "err", err)
			}
		},
	}
}
