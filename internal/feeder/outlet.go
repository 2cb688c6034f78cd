package feeder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/bursts"
	"github.com/cvfeeder/cvfeeder/internal/checkpoint"
	"github.com/cvfeeder/cvfeeder/internal/cluster"
	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
	"github.com/cvfeeder/cvfeeder/source"
)

// An outlet is where the tensors go in the config's delivery mode, where the cursors of
// the streams are kept, and which of the streams run here. Making one waits for nothing.
type outlet struct {
	delivery publish.Delivery
	// once sees to it that no slot is published twice, where bursts are; nil in durable.
	once *bursts.Once
	// cursors is nil where none are kept. saveEvery is how often they are saved.
	cursors   source.Cursors
	saveEvery func() time.Duration
	sharing   sharing

	// open waits until the broker is ready for all of this.
	open func(context.Context) error
	// claim makes sure that a stream can be delivered, before it starts.
	claim func(context.Context, pipeline.Stream) error
	// last returns the last slot of a stream that every subject holds, and false if there is
	// none. It is nil where nobody knows.
	last func(context.Context, pipeline.Stream) (source.Slot, bool, error)
	// close ends the use of the cursors.
	close func() error
}

// newOutlet makes the outlet of a plan. What it decides by the delivery mode is decided
// here and nowhere else.
func newOutlet(plan Plan, b *broker, mem *shared, m *metrics.Metrics, now func() time.Time, log *slog.Logger) (*outlet, error) {
	if plan.Config.Delivery.Mode == config.ModeDurable {
		return durableOutlet(plan, b, m, now, log), nil
	}
	o := &outlet{
		sharing:   alone{},
		saveEvery: every(time.Second),
		open:      func(context.Context) error { return nil },
		claim:     unclaimed,
		close:     func() error { return nil },
	}
	if plan.Config.Delivery.Mode == config.ModeRing {
		ring := stored(plan, b, m, now, log)
		o.delivery, o.open = mem.over(ring, &b.troubles), ring.Open
	} else {
		o.delivery = mem.over(deliver.NewLive(b.conn, plan.Gaps), &b.troubles)
	}
	o.once = bursts.NewOnce(o.delivery)
	o.delivery = o.once // within what waits for a lease, so that nobody waits for a stream that is elsewhere
	if plan.Config.Cluster.Group != "" {
		return o.shared(plan, b, cluster.Options{Now: now}, log), nil
	}
	if err := o.keepInFile(plan.Config.State, log); err != nil {
		return nil, err
	}
	return o, nil
}

func stored(plan Plan, b *broker, m *metrics.Metrics, now func() time.Time, log *slog.Logger) *deliver.Stored {
	return deliver.NewStored(b.conn, deliver.StoredOptions{
		Stream: plan.Stream, Gaps: plan.Gaps, OnRetry: onRetry(m, &b.troubles, plan.Stream.Name, log), OnForeign: onForeign(m, log), Now: now,
	})
}

// keepInFile keeps the cursors in a state directory; "" keeps none.
func (o *outlet) keepInFile(dir string, log *slog.Logger) error {
	if dir == "" {
		return nil
	}
	store, err := checkpoint.Open(dir)
	if err != nil {
		return err
	}
	if why := store.Damaged(); why != "" {
		log.Error("the saved cursors are lost: streams start from now", "err", why)
	}
	o.cursors, o.close = store, store.Close
	return nil
}

// durableOutlet is the outlet of the mode "durable", whose cursors are in NATS.
func durableOutlet(plan Plan, b *broker, m *metrics.Metrics, now func() time.Time, log *slog.Logger) *outlet {
	stored := stored(plan, b, m, now, log)
	cursors := deliver.NewCursors(b.conn, plan.Stream.Replicas)
	o := &outlet{
		delivery: stored, cursors: cursors, sharing: alone{}, saveEvery: every(cursorBucketEvery),
		open: func(ctx context.Context) error {
			if err := stored.Open(ctx); err != nil {
				return err
			}
			return cursors.Open(ctx)
		},
		claim: func(ctx context.Context, s pipeline.Stream) error { return claim(ctx, b.conn, stored, cursors, s) },
		last:  func(ctx context.Context, s pipeline.Stream) (source.Slot, bool, error) { return lastOf(ctx, stored, s) },
		close: func() error { return nil },
	}
	if plan.Config.Cluster.Group == "" {
		return o
	}
	o.open, o.claim = stored.Open, unclaimed
	return o.shared(plan, b, cluster.Options{
		Now: now,
		First: func(ctx context.Context, s pipeline.Stream) (source.Slot, error) {
			return firstOf(ctx, b.conn, stored, s)
		},
		Gained: func(s pipeline.Stream) {
			for _, r := range s.Routes {
				stored.Forget(r.Subject)
			}
		},
	}, log)
}

// shared makes the outlet that of a group: only the streams whose lease this replica
// holds run here, and the leases are their cursors.
func (o *outlet) shared(plan Plan, b *broker, c cluster.Options, log *slog.Logger) *outlet {
	cfg := plan.Config
	leases := lease.New(b.conn, lease.Options{
		Group: cfg.Cluster.Group, Lease: cfg.Cluster.Lease,
		Replicas: cfg.Delivery.Stream.Replicas, Weight: cluster.Capacity(runtime.GOMAXPROCS(0)), Logger: log,
	})
	c.Leases, c.Log = leases, log
	group := &group{cluster.New(c), leases}
	openDelivery := o.open
	o.open = func(ctx context.Context) error {
		if err := openDelivery(ctx); err != nil {
			return err
		}
		if err := leases.Join(ctx); err != nil {
			return err
		}
		log.Info("sharing the streams", "group", cfg.Cluster.Group, "member", leases.Member(), "lease", leases.Lease())
		return nil
	}
	o.delivery, o.sharing = group.Delivery(o.delivery), group
	o.cursors, o.saveEvery, o.close = leases, group.saveEvery, leases.Close
	return o
}

// cursorBucketEvery is how often cursors are written to NATS. A cursor that lags costs
// work after a crash, but nothing is published again: the subjects tell what they hold.
const cursorBucketEvery = 5 * time.Second

func every(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

func unclaimed(context.Context, pipeline.Stream) error { return nil }

// errRange says that the frames of a backfill (from: TIME) would come after newer ones.
var errRange = errors.New("the range cannot come in order")

// claim saves where a stream begins, so that it resumes there after a crash. A backfill
// (from: TIME) that has no cursor yet begins where [rangeStart] says.
func claim(ctx context.Context, conn *dial.Conn, stored *deliver.Stored, cursors source.Cursors, s pipeline.Stream) error {
	if _, begun := cursors.Load(s.Key); begun || s.Key == "" {
		return nil
	}
	start := s.From
	if s.Backfill {
		err := conn.Retry(ctx, "what is held for stream "+s.Name, func(ctx context.Context) (err error) {
			start, err = rangeStart(ctx, conn, stored, s, deliver.CursorBucket)
			if !errors.Is(err, errRange) {
				return err
			}
			// Another feeder may have begun the same range since the cursors were read.
			if cursor, begun, e := deliver.SavedCursor(ctx, conn, s.Key); e != nil || begun {
				start = cursor
				return e
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	cursors.Set(s.Key, start)
	return conn.Retry(ctx, "cursor of stream "+s.Name, func(ctx context.Context) error { return cursors.Flush(ctx, s.Key) })
}

// rangeStart returns where a backfill begins that has no cursor: at its beginning, if all of it
// is newer than what its subjects hold, as older slots would be taken for delivered already. If
// they hold slots of this very range, its cursor was lost, and it goes on after the last one.
// They do if they hold its first slot, or, as slots that were consumed may be gone, if the
// bucket of the cursors was made after they had got the last one. The look reads two tensors
// of each subject.
func rangeStart(ctx context.Context, conn *dial.Conn, stored *deliver.Stored, s pipeline.Stream, bucket string) (source.Slot, error) {
	made, err := deliver.BucketMade(ctx, conn, bucket)
	if err != nil {
		return 0, err
	}
	start, some := s.From, false
	for _, r := range s.Routes {
		held, holds, err := stored.Held(ctx, s.Name, r)
		if err != nil {
			return 0, err
		}
		switch {
		case holds && held.Last >= s.From:
		case stored.Keeps(): // nothing of the range has got there
			start, some = s.From, true
			continue
		default:
			continue
		}
		own := held.First <= s.Grid.Ceil(s.From) || held.Stored.Before(made)
		if !own || s.To != 0 && held.Last >= s.To {
			return 0, fmt.Errorf("%w: from is %v, and the subject %s holds tensors up to %v already: give the range a delivery.subject of its own, outside of the others, and a delivery.stream.name, or purge the subject",
				errRange, s.From, r.Subject, held.Last)
		}
		if next := held.Last + 1; !some || next < start {
			start, some = next, true
		}
	}
	return start, nil
}

// lastOf returns the last slot of a stream that all subjects with tensors hold, and false if
// there is none.
func lastOf(ctx context.Context, stored *deliver.Stored, s pipeline.Stream) (last source.Slot, some bool, err error) {
	for _, r := range s.Routes {
		of, found, err := stored.Last(ctx, s.Name, r)
		if err != nil {
			return 0, false, err
		}
		if found && (!some || of < last) {
			last, some = of, true
		}
	}
	return last, some, nil
}

// members returns how many replicas share the streams.
func (o *outlet) members() int {
	n, _ := o.sharing.counts()
	return n
}

// tellEvery is how often the log says what goes on and needs nobody at once.
const tellEvery = 10 * time.Second

// onRetry returns a function that counts and notes messages that are published again. The
// watchdog tells of them.
func onRetry(m *metrics.Metrics, to *troubles, stream string, log *slog.Logger) func(reason string, err error) {
	m.PublishErrors.WithLabelValues(deliver.Conflict) // the series exists before the first conflict
	conflicts := &pacing.Outage{Every: tellEvery}
	return func(reason string, err error) {
		m.PublishErrors.WithLabelValues(reason).Inc()
		to.note(reason, fmt.Errorf("stream %s: %w", stream, err))
		if reason == deliver.Conflict && conflicts.Failed() {
			log.Warn("somebody else publishes the same tensors: this is harmless, but the work is done twice", "err", err)
		}
	}
}

// onForeign returns a function that counts and logs messages of somebody else.
func onForeign(m *metrics.Metrics, log *slog.Logger) func(subject string) {
	m.PublishErrors.WithLabelValues(foreign) // the series exists before the first message
	seldom := &pacing.Outage{Every: tellEvery}
	return func(subject string) {
		m.PublishErrors.WithLabelValues(foreign).Inc()
		if seldom.Failed() {
			log.Error("somebody else has published on a subject of this feeder, or a feeder with another config has: the message is ignored; check who may publish there", "subject", subject)
		}
	}
}

// foreign is the reason for which messages of somebody else are counted.
const foreign = "foreign"

// startError gives an error before the first frame its exit code: it is the config's
// fault where trying again would not help.
func startError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, dial.ErrStream), errors.Is(err, errRange):
		return Usage(err)
	}
	return err
}
