package main

import (
	"context"
	"errors"
	"slices"
	"strings"

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
	for _, s := range cfg.Streams {
		if cfg.Delivery.Gaps == "events" {
			gaps = append(gaps, gapSubject(s))
		}
		for _, output := range s.Outputs {
			tensors = append(tensors, tensorSubject(cfg.Delivery.Subject, s, output))
		}
	}
	slices.Sort(gaps)
	slices.Sort(tensors)
	tensors, gaps = slices.Compact(tensors), slices.Compact(gaps)
	switch stream := cfg.Delivery.Stream.Name; cfg.Delivery.Mode {
	case modeRing:
		return natspub.NeedsRing(stream, tensors, gaps)
	case modeDurable:
		return natspub.NeedsDurable(stream, natspub.CursorBucket, tensors, gaps)
	default:
		return natspub.NeedsLive(tensors, gaps)
	}
}

// A prefix stands for streams that are not known yet, so for any.

func gapSubject(s config.Stream) string {
	if s.Prefix != "" {
		return publish.GapPrefix + "*"
	}
	return publish.GapSubject(s.Name)
}

func tensorSubject(template string, s config.Stream, output string) string {
	t, err := publish.ParseSubject(template)
	if err != nil {
		return "" // the config's own check does not let it get here
	}
	subject := t.Subject(s.Name, output)
	if s.Prefix == "" {
		return subject
	}
	tokens := strings.Split(subject, ".")
	for i, token := range strings.Split(template, ".") {
		if strings.Contains(token, "{stream}") {
			tokens[i] = "*"
		}
	}
	return strings.Join(tokens, ".")
}
