package feeder

import (
	"context"
	"errors"
	"slices"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
)

// checkNATS waits for the connection and checks the permissions of its user. It returns
// an error only where something is refused: the connection recovers from other trouble.
func (f *Feeder) checkNATS(ctx context.Context, conn *dial.Conn) error {
	err := conn.WaitConnected(ctx)
	if err == nil {
		err = preflight.CheckPermissions(ctx, conn, Needs(f.cfg))
	}
	switch {
	case errors.Is(err, dial.ErrRefused):
		return Refused(err)
	case err != nil && ctx.Err() == nil:
		f.log.Warn("the NATS permissions are not checked", "err", err)
	}
	return nil
}

// Needs returns the NATS permissions that a config needs.
func Needs(cfg *config.Config) preflight.Needs {
	var tensors, gaps []string
	// An invalid template does not get past the check of the config.
	template, _ := publish.ParseSubject(cfg.Delivery.Subject)
	for _, s := range cfg.Streams {
		// The streams of a prefix are not known yet, so they may have any name.
		gap := publish.GapPrefix + "*"
		subject := template.AnyStream
		if s.Prefix == "" {
			gap = publish.GapSubject(s.Name)
			subject = func(output string) string { return template.Subject(s.Name, output) }
		}
		if cfg.Delivery.Gaps == config.GapsEvents {
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
		needs = needs.With(preflight.NeedsLeases())
	}
	return needs
}

func modeNeeds(cfg *config.Config, tensors, gaps []string) preflight.Needs {
	switch stream := cfg.Delivery.Stream.Name; cfg.Delivery.Mode {
	case config.ModeRing:
		return preflight.NeedsRing(stream, tensors, gaps)
	case config.ModeDurable:
		return preflight.NeedsDurable(stream, deliver.CursorBucket, tensors, gaps)
	default:
		return preflight.NeedsLive(tensors, gaps)
	}
}
