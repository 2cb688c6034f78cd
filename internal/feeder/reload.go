package feeder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
)

// reload replaces the config with the text of its file, or refuses all of it.
func (f *follower) reload(ctx context.Context, set pipeline.Set, text []byte, err error) {
	var cfg *config.Config
	if err == nil {
		cfg, err = config.Parse(f.file.Path(), text, os.LookupEnv)
	}
	var diff config.Difference
	if err == nil {
		diff = config.Diff(f.cfg, cfg)
		err = replaceable(cfg, diff)
	}
	if err == nil {
		err = f.acceptable(ctx, cfg)
	}
	if ctx.Err() != nil {
		return
	}
	f.told(err)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			f.log.Error("the config file is refused, and the config stays as it was", "err", strings.TrimSuffix(line, "\n"))
		}
		return
	}
	f.log.Info("the config file is read again", "file", f.file.Path(), "changes", len(diff.Changes))
	for _, change := range diff.Changes {
		f.log.Info("the config has changed", "what", change)
	}
	f.use(cfg)
	for _, c := range cfg.Prefixes() {
		if _, known := f.found[c.Prefix]; !known {
			f.find(ctx, c.Prefix)
		}
	}
	f.apply(ctx, set)
}

// replaceable returns why a config cannot replace the present one without a restart.
func replaceable(cfg *config.Config, diff config.Difference) error {
	switch {
	case len(diff.Restart) > 0:
		return fmt.Errorf("needs a restart: %s", strings.Join(diff.Restart, ", "))
	case cfg.Finite():
		return errors.New("needs a restart: with all streams having an end (to), the process would have one")
	}
	return nil
}

// acceptable returns why the streams of a config cannot be delivered.
func (f *follower) acceptable(ctx context.Context, cfg *config.Config) error {
	if f.accept != nil {
		if err := f.accept(ctx, cfg); err != nil {
			return err
		}
	}
	// This comes last because it saves where each stream begins.
	trial := *f.builder
	trial.outputs = Outputs(cfg)
	streams, err := trial.named(cfg.Streams)
	if err != nil {
		return err
	}
	for _, s := range streams {
		if _, runs := f.running[s.Name]; runs && !s.Range {
			continue
		}
		if err := trial.check(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// use makes cfg the present config. Running streams keep the outputs that they have.
func (f *follower) use(cfg *config.Config) {
	b := *f.builder
	b.outputs = Outputs(cfg)
	f.cfg, f.builder = cfg, &b
	clear(f.refused)
	maps.DeleteFunc(f.found, func(prefix string, _ []string) bool {
		return !slices.ContainsFunc(cfg.Streams, func(s config.Stream) bool { return s.Prefix == prefix })
	})
}

// follow makes the pipeline follow the config, where its streams can change.
func (f *Feeder) follow(ctx context.Context, b *builder, m *metrics.Metrics, accept func(context.Context, *config.Config) error, opts *pipeline.Options) error {
	d := newFollower(b, f.cfg, f.log)
	m.Config.Loaded(time.Now())
	if !f.cfg.Finite() {
		d.file, d.hangup, d.accept = f.file, f.hangup, accept
	}
	d.told = func(err error) {
		if err != nil {
			m.Config.Refused()
		} else {
			m.Config.Loaded(time.Now())
		}
	}
	if d.idle() {
		return nil
	}
	opts.Follow = d.follow
	return d.check(ctx)
}

// fitting returns a function that returns why NATS would not take the messages of a new
// config. Where it would, the function stores the size of the largest in most.
func (f *Feeder) fitting(conn *dial.Conn, most *atomic.Pointer[largestOf], more int) func(context.Context, *config.Config) error {
	return func(ctx context.Context, cfg *config.Config) error {
		size, which, err := LargestMessage(cfg, Outputs(cfg))
		if err != nil {
			return err
		}
		if limit := conn.MaxPayload(); limit > 0 {
			if err := cfg.Delivery.Oversize.CheckSize(size+more, limit); err != nil {
				return fmt.Errorf("%s: %w", which, err)
			}
		}
		if err := preflight.CheckPermissions(ctx, conn, Needs(cfg)); errors.Is(err, dial.ErrRefused) {
			return err
		}
		most.Store(&largestOf{size + more, which})
		return nil
	}
}
