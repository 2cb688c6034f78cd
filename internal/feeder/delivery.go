package feeder

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/cvfeeder/cvfeeder/internal/checkpoint"
	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// deliver sets how the pipeline delivers, and where it keeps its cursors. In the modes
// that store tensors it waits for NATS. The returned function closes the cursors.
func (f *Feeder) deliver(ctx context.Context, conn *dial.Conn, b *builder, opts *pipeline.Options) (end func() error, err error) {
	var delivery publish.Delivery
	var cursors cursorStore
	gaps := gapMode(f.cfg.Delivery.Gaps)
	if f.cfg.Delivery.Mode == config.ModeLive {
		delivery = deliver.NewLive(conn, gaps)
		cursors, err = f.cursorFile()
	} else {
		stored := deliver.NewStored(conn, deliver.StoredOptions{
			Stream: StoreOptions(f.cfg, b.subject), Gaps: gaps, OnRetry: f.onRetry(b.metrics),
		})
		delivery = stored
		cursors, err = f.open(ctx, conn, b, stored)
	}
	opts.Publisher, opts.Confirm, opts.Interested = delivery, delivery.Confirm, delivery.Watched
	opts.Inline = gaps == publish.InlineGaps
	if gaps == publish.GapEvents {
		opts.Gaps = func(ctx context.Context, g publish.Gap) error { return delivery.Gap(ctx, g, nil) }
	}
	if err == nil && f.cfg.Cluster.Group != "" {
		cursors, err = f.join(ctx, conn, b, opts)
	}
	switch {
	case err != nil:
		return nil, startError(ctx, err)
	case cursors == nil:
		return func() error { return nil }, nil
	}
	opts.Cursors = cursors
	return cursors.Close, nil
}

// dataConnections returns how many NATS connections carry tensors on this machine.
func dataConnections() int { return min(runtime.GOMAXPROCS(0), maxDataConnections) }

// A largestOf is the size of the largest message of a config, and which stream and
// output it belongs to.
type largestOf struct {
	size int
	what string
}

// fits returns a function to call with the max_payload of the server at each new
// connection. Where the largest message does not fit, it stops the run during the start;
// later, when a reconnect leads to a server with a smaller limit, it logs an error, and
// only the tensors that do not fit are dropped.
func (f *Feeder) fits(largest *atomic.Pointer[largestOf], stop func(error)) func(limit int) {
	connects := 0
	return func(limit int) {
		connects++
		most := largest.Load()
		err := f.cfg.Delivery.Oversize.CheckSize(most.size, limit)
		switch {
		case err == nil:
		case connects <= dataConnections():
			stop(Usage(fmt.Errorf("%s: %w", most.what, err)))
		default:
			f.log.Error("tensors are dropped until this is mended", "output", most.what, "err", err)
		}
	}
}

// startError gives an error before the first frame its exit code: it is the config's
// fault where trying again would not help.
func startError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, dial.ErrStream), errors.Is(err, errRange):
		return Usage(err)
	}
	return Refused(err)
}

// errRange says that the frames of a range (from: TIME) would come after newer ones.
var errRange = errors.New("the range cannot come in order")

// gapMode returns how a delivery announces gaps.
func gapMode(g config.Gaps) publish.GapMode {
	switch g {
	case config.GapsEvents:
		return publish.GapEvents
	case config.GapsInline:
		return publish.InlineGaps
	default:
		return publish.NoGaps
	}
}

// open opens the JetStream stream and the cursors. In the mode durable it makes the
// builder claim each stream's range.
func (f *Feeder) open(ctx context.Context, conn *dial.Conn, b *builder, stored *deliver.Stored) (cursorStore, error) {
	if err := stored.Open(ctx); err != nil {
		return nil, err
	}
	switch {
	case f.cfg.Delivery.Mode == config.ModeRing:
		return f.cursorFile()
	case f.cfg.Cluster.Group != "":
		return nil, nil // the leases hold the cursors
	}
	cursors := deliver.NewCursors(conn, f.cfg.Delivery.Stream.Replicas)
	if err := cursors.Open(ctx); err != nil {
		return nil, err
	}
	b.claim = func(ctx context.Context, s pipeline.Stream) error { return claim(ctx, conn, stored, cursors, s) }
	return newPacedCursors(cursors, func() time.Duration { return bucketPace }, nil), nil
}

// claim saves where a stream begins, so that it resumes there after a crash. For a range
// (from: TIME) that has no cursor yet, it first makes sure that the range is newer than
// everything its subjects hold: older slots would be taken for delivered already. Once
// there is a cursor, the subjects may hold tensors of the range itself.
func claim(ctx context.Context, conn *dial.Conn, stored *deliver.Stored, cursors *deliver.Cursors, s pipeline.Stream) error {
	if _, begun := cursors.Load(s.Key); begun || s.Key == "" {
		return nil
	}
	if s.Range {
		err := conn.Retry(ctx, "what is held for stream "+s.Name, func(ctx context.Context) error { return comesAfter(ctx, stored, s) })
		if err != nil {
			return err
		}
	}
	cursors.Set(s.Key, s.From)
	return conn.Retry(ctx, "cursor of stream "+s.Name, func(ctx context.Context) error { return cursors.Flush(ctx, s.Key) })
}

// comesAfter returns an error unless a range is newer than what its subjects hold. The
// check reads one tensor of each subject.
func comesAfter(ctx context.Context, stored *deliver.Stored, s pipeline.Stream) error {
	for _, subject := range s.Subjects {
		last, some, err := stored.Last(ctx, subject)
		if err != nil {
			return err
		}
		if some && last >= s.From {
			return fmt.Errorf("stream %s: %w: from is %v, and the subject %s holds tensors up to %v already: give the range a delivery.subject of its own, outside of the others, and a delivery.stream.name, or purge the subject",
				s.Name, errRange, s.From, subject, last)
		}
	}
	return nil
}

// A cursorStore is a file, or a key-value bucket of NATS.
type cursorStore interface {
	pipeline.Cursors
	Close() error
}

// A fileStore is a file, as the pipeline flushes it.
type fileStore struct{ *checkpoint.Store }

func (s fileStore) Flush() error { return s.Store.Flush(context.Background()) }

// StoreOptions returns the JetStream stream that a config asks for, with the subjects
// of the template.
func StoreOptions(cfg *config.Config, subject publish.SubjectTemplate) deliver.StreamOptions {
	c := cfg.Delivery.Stream
	o := deliver.StreamOptions{
		Name: c.Name, Subjects: []string{subject.Wildcard()}, Replicas: c.Replicas,
		Keep: c.Keep, Limits: c.Retention == config.RetentionLimits,
	}
	if cfg.Delivery.Mode == config.ModeDurable {
		o.Kind, o.MaxBytes = deliver.Durable, int64(c.MaxBytes)
	}
	return o
}

// onRetry returns a function that counts and logs messages that are published again.
func (f *Feeder) onRetry(m *metrics.Metrics) func(reason string, err error) {
	m.PublishErrors.WithLabelValues(deliver.Conflict) // the series exists before the first conflict
	var mu sync.Mutex
	seldom := map[string]*rate.Sometimes{}
	return func(reason string, err error) {
		m.PublishErrors.WithLabelValues(reason).Inc()
		mu.Lock()
		defer mu.Unlock()
		if seldom[reason] == nil {
			seldom[reason] = &rate.Sometimes{First: 1, Interval: 10 * time.Second}
		}
		seldom[reason].Do(func() { f.log.Warn(retryText(reason), "err", err) })
	}
}

func retryText(reason string) string {
	switch reason {
	case publish.DropFull:
		return "the JetStream stream is full: waiting until it has room"
	case deliver.Conflict:
		return "somebody else publishes the same tensors, which is harmless, and double work"
	default:
		return "a tensor was not stored, trying again"
	}
}

// cursorFile opens the cursors in the state directory. It returns nil where the config
// has none.
func (f *Feeder) cursorFile() (cursorStore, error) {
	if f.cfg.State == "" {
		return nil, nil
	}
	store, err := checkpoint.Open(f.cfg.State)
	if err != nil {
		return nil, err
	}
	if why := store.Damaged(); why != "" {
		f.log.Error("the saved cursors are lost: streams go on from now", "err", why)
	}
	return fileStore{store}, nil
}

// storeDir returns the directory in which an embedded server stores messages, "" where
// it stores none.
func (f *Feeder) storeDir() string {
	if !f.cfg.Delivery.Mode.Stored() || f.cfg.State == "" {
		return ""
	}
	return filepath.Join(f.cfg.State, "nats")
}
