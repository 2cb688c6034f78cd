package feeder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
)

// reload replaces the config with the text of its file, or refuses all of it.
func (f *follower) reload(ctx context.Context, set pipeline.Set, text []byte, err error) {
	var cfg *config.Config
	if err == nil {
		cfg, err = config.Parse(f.changes.file.Path(), text, os.LookupEnv)
	}
	var diff config.Difference
	if err == nil {
		diff = config.Diff(f.cfg, cfg)
		err = replaceable(cfg, diff)
	}
	var plan Plan
	if err == nil {
		plan, err = NewPlan(cfg)
	}
	if err == nil {
		err = f.acceptable(ctx, plan)
	}
	if ctx.Err() != nil {
		return
	}
	f.changes.told(err)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			f.log.Error("the config file is refused, and the config stays as it was", "err", strings.TrimSuffix(line, "\n"))
		}
		return
	}
	f.log.Info("the config file is read again", "file", f.changes.file.Path(), "changes", len(diff.Changes))
	for _, change := range diff.Changes {
		f.log.Info("the config has changed", "what", change)
	}
	f.use(plan)
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
		return errors.New("needs a restart: if all streams have an end (to), so has the process")
	}
	return nil
}

// acceptable returns why the streams of a plan cannot be delivered.
func (f *follower) acceptable(ctx context.Context, plan Plan) error {
	if err := f.changes.accept(ctx, plan); err != nil {
		return err
	}
	// This comes last because it saves where each stream begins.
	trial := f.builder.with(plan)
	streams, err := trial.named()
	if err != nil {
		return err
	}
	for _, s := range streams {
		if _, runs := f.running[s.Name]; runs && !s.Backfill {
			continue
		}
		if err := trial.claim(ctx, s); err != nil {
			return fmt.Errorf("stream %s: %w", s.Name, err)
		}
	}
	return nil
}

// use makes plan the present one. Running streams keep the outputs that they have.
func (f *follower) use(plan Plan) {
	f.cfg, f.builder = plan.Config, f.builder.with(plan)
	clear(f.refused)
	maps.DeleteFunc(f.found, func(prefix string, _ []string) bool {
		return !slices.ContainsFunc(plan.Config.Streams, func(s config.Stream) bool { return s.Prefix == prefix })
	})
	f.expect()
}

// follow returns what the pipeline is to follow, nil where its streams cannot change.
// The error says that the credentials do not allow looking streams up.
func (f *Feeder) follow(ctx context.Context, p *parts, b *builder) (followFunc, error) {
	p.metrics.Config.Loaded(time.Now())
	c := changes{
		accept: p.acceptable,
		told: func(err error) {
			if err != nil {
				p.metrics.Config.Refused()
			} else {
				p.metrics.Config.Loaded(time.Now())
			}
		},
	}
	if !f.Config.Finite() {
		c.file, c.hangup = f.File, f.Hangup
	}
	follower := newFollower(b, c, f.Log)
	if follower.idle() {
		return nil, nil
	}
	p.follower.Store(follower)
	return follower.follow, follower.check(ctx)
}

// acceptable returns why NATS would not take the messages of another plan.
func (p *parts) acceptable(ctx context.Context, plan Plan) error {
	if err := preflight.CheckPermissions(ctx, p.broker.conn, plan.Needs); errors.Is(err, dial.ErrRefused) {
		return err
	}
	return p.limit.accept(plan.Largest, p.broker.conn.MaxPayload())
}
