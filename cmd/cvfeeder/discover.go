package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
)

const (
	// listEvery is how often the prefixes are looked up: ListStreams is allowed
	// five times a second for the whole account.
	listEvery = 30 * time.Second
	// listWait bounds one look-up.
	listWait = 20 * time.Second
)

// A discovery keeps the running streams those that the prefixes of the config
// find.
type discovery struct {
	builder *builder
	streams []config.Stream
	log     *slog.Logger

	running map[string]config.Stream // by name, those found
	refused map[string]bool          // names that were logged as refused
	named   map[string]string        // subject tokens of the streams that the config names
}

// newDiscovery returns nil where the config has no prefix.
func newDiscovery(b *builder, streams []config.Stream, log *slog.Logger) *discovery {
	d := &discovery{
		builder: b, log: log,
		running: map[string]config.Stream{}, refused: map[string]bool{}, named: map[string]string{},
	}
	for _, s := range streams {
		if s.Prefix != "" {
			d.streams = append(d.streams, s)
		} else {
			d.named[publish.SubjectToken(s.Name)] = s.Name
		}
	}
	if len(d.streams) == 0 {
		return nil
	}
	return d
}

// follow looks the prefixes up until ctx ends.
func (d *discovery) follow(ctx context.Context, set pipeline.Set) {
	t := time.NewTicker(listEvery)
	defer t.Stop()
	for {
		d.update(ctx, set)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// update starts what is new and stops what has been deleted. A prefix that cannot
// be looked up keeps what it had.
func (d *discovery) update(ctx context.Context, set pipeline.Set) {
	found := map[string]config.Stream{}
	for _, c := range d.streams {
		names, err := d.list(ctx, c.Prefix)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			d.log.Warn("streams could not be looked up, trying again", "prefix", c.Prefix, "err", err)
			for name, old := range d.running {
				if old.Prefix == c.Prefix {
					found[name] = old
				}
			}
			continue
		}
		for _, name := range names {
			if _, taken := found[name]; !taken {
				found[name] = c
			}
		}
	}
	for name := range d.running {
		if _, still := found[name]; !still {
			// What is in flight may be finished when the process is to end, too.
			set.Remove(context.WithoutCancel(ctx), name)
			delete(d.running, name)
		}
	}
	for name, c := range found {
		if _, has := d.running[name]; !has {
			d.add(ctx, set, name, c)
		}
	}
}

// add starts a stream, unless the config names it, or it would share the subjects
// of another.
func (d *discovery) add(ctx context.Context, set pipeline.Set, name string, c config.Stream) {
	token := publish.SubjectToken(name)
	other, taken := d.named[token]
	for running := range d.running {
		if publish.SubjectToken(running) == token {
			other, taken = running, true
		}
	}
	if taken {
		if other != name && !d.refused[name] {
			d.refused[name] = true
			d.log.Error("the stream is left out: it would share its NATS subjects with another; rename one",
				"stream", name, "other", other)
		}
		return
	}
	c.Name = name
	s, err := d.builder.stream(c, time.Now())
	if err == nil {
		err = d.builder.check(ctx, s)
	}
	if err != nil {
		if !d.refused[name] && ctx.Err() == nil {
			d.refused[name] = true
			d.log.Error("the stream is left out", "stream", name, "err", err)
		}
		return
	}
	d.running[name] = c
	set.Add(s)
}

// check fails where no prefix can be looked up at the start because of the
// credentials: what a later look-up cannot mend.
func (d *discovery) check(ctx context.Context) error {
	for _, c := range d.streams {
		if _, err := d.list(ctx, c.Prefix); errors.Is(err, source.ErrRefused) {
			return err
		}
	}
	return nil
}

func (d *discovery) list(ctx context.Context, prefix string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, listWait)
	defer cancel()
	return d.builder.client.List(ctx, prefix)
}
