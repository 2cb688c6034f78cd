package feeder

import (
	"context"
	"log/slog"

	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/memory"
	"github.com/cvfeeder/cvfeeder/publish/nats/handoff"
)

// MemoryOptions returns what delivery.memory asks for.
func (p Plan) MemoryOptions() memory.Options {
	d := p.Config.Delivery
	return memory.Options{Dir: d.Memory, Bytes: int64(d.MemoryBytes), SlotBytes: p.Config.TensorBytes(), Group: d.MemoryGroup, Writable: d.MemoryWritable}
}

// A shared memory is where tensors are made that consumers of this host read in place. Its
// methods do nothing where there is none: it is nil then.
type shared struct {
	*memory.Keeper
	handoff  *handoff.Delivery
	troubles *troubles
	log      *slog.Logger
}

// openShared returns the memory of a plan, nil where it asks for none.
func openShared(ctx context.Context, plan Plan, log *slog.Logger) (*shared, error) {
	o := plan.MemoryOptions()
	if o.Dir == "" {
		return nil, nil
	}
	keeper, err := memory.Keep(ctx, o)
	if err != nil {
		return nil, Usage(err)
	}
	log.Info("tensors are handed over in memory to consumers of this host", "directory", o.Dir, "tensors", keeper.Stats().Slots)
	return &shared{Keeper: keeper, log: log}, nil
}

// over returns the delivery that publishes where tensors are by way of another one.
func (s *shared) over(d handoff.Coverer, t *troubles) publish.Delivery {
	if s == nil {
		return d
	}
	s.troubles = t
	s.handoff = handoff.New(d, handoff.Options{Host: s.Host, OnUnknown: func(err error) { t.add(health.MemoryUnused, err) }})
	return s.handoff
}

func (s *shared) serve(ctx context.Context) {
	if s == nil {
		return
	}
	defer background(ctx, s.watch)()
	s.handoff.Serve(ctx)
}

// watch looks once a second whether consumers find the memory, and mends it.
func (s *shared) watch(ctx context.Context) {
	for pacing.Sleep(ctx, watchEvery) == nil {
		remade := s.Stats().Remade
		if err := s.Look(ctx); err != nil {
			s.troubles.add(health.MemoryLost, err)
		}
		if s.Stats().Remade > remade {
			s.log.Info("the memory of tensors was made anew", "host", s.Host())
		}
	}
}

func (s *shared) forget(subject string) {
	if s != nil {
		s.handoff.Forget(subject)
	}
}

// metrics returns how tensors were handed over, nil where there is no memory.
func (s *shared) metrics() func() metrics.Memory {
	if s == nil {
		return nil
	}
	return func() metrics.Memory {
		counts, stats := s.handoff.Counts(), s.Stats()
		return metrics.Memory{
			InMemory: counts.Memory, AsPayload: counts.Payload, NoSlot: stats.None,
			Slots: stats.Slots, Held: stats.Held, Remade: stats.Remade,
		}
	}
}

func (s *shared) close(log *slog.Logger) {
	if s == nil {
		return
	}
	if err := s.Close(); err != nil {
		log.Warn("the memory of tensors is not removed; the next start does it", "err", err)
	}
}
