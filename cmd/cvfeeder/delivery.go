package main

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/cvfeeder/cvfeeder/internal/checkpoint"
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
func (f *feeder) deliver(ctx context.Context, conn *natspub.Conn, subject publish.SubjectTemplate, m *metrics.Metrics, opts *pipeline.Options) (end func() error, err error) {
	switch f.cfg.Delivery.Gaps {
	case "events":
		opts.Gaps = conn.Live().PublishGap
	case "inline":
		opts.Inline = true
	}
	store := f.streamOptions(subject, m)
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
		if opts.Publisher, err = conn.Durable(ctx, store); err == nil {
			cursors, err = conn.Cursors(ctx, store.Replicas)
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, natspub.ErrStream):
		return nil, usage(err)
	case err != nil:
		return nil, exitCode(err)
	case cursors == nil:
		return func() error { return nil }, nil
	}
	opts.Cursors = cursors
	return cursors.Close, nil
}

// A cursorStore is a file, or a bucket of NATS.
type cursorStore interface {
	pipeline.Cursors
	Close() error
}

func (f *feeder) streamOptions(subject publish.SubjectTemplate, m *metrics.Metrics) natspub.StreamOptions {
	c := f.cfg.Delivery.Stream
	o := natspub.StreamOptions{
		Name: c.Name, Subjects: []string{subject.Wildcard()}, Replicas: c.Replicas,
		Keep: c.Keep, Limits: c.Retention == "limits",
	}
	if f.cfg.Delivery.Mode == modeDurable {
		o.MaxBytes = int64(c.MaxBytes)
	}
	var mu sync.Mutex
	seldom := map[string]*rate.Sometimes{}
	o.OnRetry = func(reason string, err error) {
		m.PublishErrors.WithLabelValues(reason).Inc()
		mu.Lock()
		defer mu.Unlock()
		if seldom[reason] == nil {
			seldom[reason] = &rate.Sometimes{First: 1, Interval: 10 * time.Second}
		}
		seldom[reason].Do(func() { f.log.Warn(retryText(reason), "err", err) })
	}
	return o
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
