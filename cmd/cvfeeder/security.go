package main

import (
	"context"
	"errors"
	"slices"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/natspub"
)

// checkNATS waits for the connection and asks what its user is allowed. The error,
// if any, is that something is refused; other trouble the connection mends itself.
func (f *feeder) checkNATS(ctx context.Context, conn *natspub.Conn) error {
	err := conn.WaitConnected(ctx)
	if err == nil {
		err = conn.CheckPermissions(ctx, needs(f.cfg))
	}
	switch {
	case errors.Is(err, natspub.ErrRefused):
		return exitCode(err)
	case err != nil && ctx.Err() == nil:
		f.log.Warn("the NATS permissions are not checked", "err", err)
	}
	return nil
}

// needs returns the permissions that the config leads to.
func needs(cfg *config.Config) natspub.Needs {
	var tensors, gaps []string
	// The config's own check lets no wrong template get here.
	template, _ := publish.ParseSubject(cfg.Delivery.Subject)
	for _, s := range cfg.Streams {
		// A prefix stands for streams that are not known yet, so for any.
		gap := publish.GapPrefix + "*"
		subject := template.AnyStream
		if s.Prefix == "" {
			gap = publish.GapSubject(s.Name)
			subject = func(output string) string { return template.Subject(s.Name, output) }
		}
		if cfg.Delivery.Gaps == "events" {
			gaps = append(gaps, gap)
		}
		for _, output := range s.Outputs {
			tensors = append(tensors, subject(output))
		}
	}
	slices.Sort(gaps)
	slices.Sort(tensors)
	tensors, gaps = slices.Compact(tensors), slices.Compact(gaps)
	needs := modeNeeds(cfg, tensors, gaps)
	if cfg.Cluster.Group != "" {
		needs = needs.With(natspub.NeedsLeases())
	}
	return needs
}

func modeNeeds(cfg *config.Config, tensors, gaps []string) natspub.Needs {
	switch stream := cfg.Delivery.Stream.Name; cfg.Delivery.Mode {
	case modeRing:
		return natspub.NeedsRing(stream, tensors, gaps)
	case modeDurable:
		return natspub.NeedsDurable(stream, natspub.CursorBucket, tensors, gaps)
	default:
		return natspub.NeedsLive(tensors, gaps)
	}
}
