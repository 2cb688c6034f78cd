package main

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
	"github.com/cvfeeder/cvfeeder/publish/natspub"
)

// Delivery modes of the config.
const (
	modeLive    = "live"
	modeRing    = "ring"
	modeDurable = "durable"
)

// deliver sets how the pipeline delivers, and where its cursors are. In the modes
// that store tensors it waits for NATS. What it returns ends the cursors' use.
func (f *feeder) deliver(ctx context.Context, conn *natspub.Conn, b *builder, opts *pipeline.Options) (end func() error, err error) {
	switch f.cfg.Delivery.Gaps {
	case "events":
		opts.Gaps = conn.Live().PublishGap
	case "inline":
		opts.Inline = true
	}
	store := streamOptions(f.cfg, b.subject)
	store.OnRetry = f.onRetry(b.metrics)
	var cursors cursorStore
	switch f.cfg.Delivery.Mode {
	case modeLive:
		opts.Publisher, opts.Confirm, opts.Interested = conn.Live(), conn.Flush, conn.Live().Interested
		cursors, err = f.cursorFile()
	case modeRing:
		if opts.Publisher, err = conn.Ring(ctx, store); err == nil {
			cursors, err = f.cursorFile()
		}
	case modeDurable:
		cursors, err = f.durable(ctx, conn, b, store, opts)
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

func dataConnections() int { return min(runtime.GOMAXPROCS(0), maxDataConnections) }

// A largestOf is the largest message that a config leads to, and of what it is.
type largestOf struct {
	size int
	what string
}

// fits returns what is told the max_payload of each connection. At the start, one that
// is too small ends the run. Later, with another server or another config of it, the
// tensors that do not fit are dropped, others not.
func (f *feeder) fits(largest *atomic.Pointer[largestOf], stop func(error)) func(limit int) {
	made := 0 // connections
	return func(limit int) {
		made++
		most := largest.Load()
		err := publish.CheckSize(most.size, limit)
		switch {
		case err == nil || f.cfg.Delivery.Oversize == "chunk":
		case made <= dataConnections():
			stop(usage(fmt.Errorf("%s: %w", most.what, err)))
		default:
			f.log.Error("tensors are dropped until this is mended", "output", most.what, "err", err)
		}
	}
}

// startError gives an error before the first frame its exit code: it is one of the
// config where trying again would not mend it.
func startError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, natspub.ErrStream), errors.Is(err, errRange):
		return usage(err)
	}
	return exitCode(err)
}

// errRange says that a range cannot be published in order.
var errRange = errors.New("the range cannot come in order")

// durable opens the JetStream stream and the cursors, and has the streams' ranges
// claimed.
func (f *feeder) durable(ctx context.Context, conn *natspub.Conn, b *builder, store natspub.StreamOptions, opts *pipeline.Options) (cursorStore, error) {
	stored, err := conn.Durable(ctx, store)
	if err != nil {
		return nil, err
	}
	opts.Publisher = stored
	if f.cfg.Cluster.Group != "" {
		return nil, nil // the leases are the cursors
	}
	cursors, err := conn.Cursors(ctx, store.Replicas)
	if err != nil {
		return nil, err
	}
	b.claim = func(ctx context.Context, s pipeline.Stream) error { return claim(ctx, conn, stored, cursors, s) }
	return cursors, nil
}

// claim keeps where a stream begins, from which it goes on after a crash; and makes
// sure that a range (from: TIME) which begins now comes after all that its subjects
// hold: what is not newer would be taken for delivered already. Once there is a
// cursor, what the subjects hold may be of the range itself.
func claim(ctx context.Context, conn *natspub.Conn, stored *natspub.Stored, cursors *natspub.Cursors, s pipeline.Stream) error {
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
	return conn.Retry(ctx, "cursor of stream "+s.Name, func(context.Context) error { return cursors.Close() })
}

// comesAfter returns an error where a range does not come after what its subjects
// hold. To look costs a tensor for each.
func comesAfter(ctx context.Context, stored *natspub.Stored, s pipeline.Stream) error {
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

// A cursorStore is a file, or a bucket of NATS.
type cursorStore interface {
	pipeline.Cursors
	Close() error
}

// streamOptions describes the JetStream stream of a config.
func streamOptions(cfg *config.Config, subject publish.SubjectTemplate) natspub.StreamOptions {
	c := cfg.Delivery.Stream
	o := natspub.StreamOptions{
		Name: c.Name, Subjects: []string{subject.Wildcard()}, Replicas: c.Replicas,
		Keep: c.Keep, Limits: c.Retention == "limits",
	}
	if cfg.Delivery.Mode == modeDurable {
		o.MaxBytes = int64(c.MaxBytes)
	}
	return o
}

// onRetry returns what counts and logs the messages that are tried again.
func (f *feeder) onRetry(m *metrics.Metrics) func(reason string, err error) {
	m.PublishErrors.WithLabelValues(natspub.Conflict) // a series before the first
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
	case natspub.Conflict:
		return "somebody else publishes the same tensors, which is harmless, and double work"
	default:
		return "a tensor was not stored, trying again"
	}
}

// cursorFile opens the state directory, nil where there is none.
func (f *feeder) cursorFile() (cursorStore, error) {
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
	return store, nil
}

// storeDir returns where an embedded server keeps what is stored, "" for nowhere.
func (f *feeder) storeDir() string {
	if f.cfg.Delivery.Mode == modeLive || f.cfg.State == "" {
		return ""
	}
	return filepath.Join(f.cfg.State, "nats")
}
