package feeder

import (
	"context"
	"log/slog"

	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/memory"
	"github.com/cvfeeder/cvfeeder/publish/nats/handoff"
)

// MemoryOptions returns what delivery.memory asks for.
func (p Plan) MemoryOptions() memory.Options {
	d := p.Config.Delivery
	return memory.Options{Dir: d.Memory, Bytes: int64(d.MemoryBytes), SlotBytes: p.Config.TensorBytes(), Group: d.MemoryGroup}
}

// A shared memory is where tensors are made that consumers of this host read in place. Its
// methods do nothing where there is none: it is nil then.
type shared struct {
	*memory.Ring
	handoff *handoff.Delivery
}

// openShared returns the memory of a plan, nil where it asks for none.
func openShared(ctx context.Context, plan Plan, log *slog.Logger) (*shared, error) {
	o := plan.MemoryOptions()
	if o.Dir == "" {
		return nil, nil
	}
	ring, err := memory.Open(ctx, o)
	if err != nil {
		return nil, Usage(err)
	}
	log.Info("tensors are handed over in memory to consumers of this host", "directory", o.Dir, "tensors", ring.Stats().Slots)
	return &shared{Ring: ring}, nil
}

// over returns the delivery that publishes where tensors are by way of another one.
func (s *shared) over(d handoff.Coverer, t *troubles) publish.Delivery {
	if s == nil {
		return d
	}
	s.handoff = handoff.New(d, handoff.Options{Host: s.Host, OnUnknown: func(err error) { t.add(health.MemoryUnused, err) }})
	return s.handoff
}

func (s *shared) serve(ctx context.Context) {
	if s != nil {
		s.handoff.Serve(ctx)
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
			Slots: stats.Slots, Held: stats.Held,
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
