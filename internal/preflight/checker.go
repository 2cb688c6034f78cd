// Package preflight implements "cvfeeder check": it tries what a config needs, before it
// runs, and estimates what it will cost.
//
// It creates nothing. With [Options.Connect] it publishes test messages, and requests
// two images each from up to 20 streams; with [Options.Measure] it also polls up to four
// streams for a while, and says before how many images that takes at most.
//
// The package is larger than most because the plan needs what the tries have found out of each
// stream.
package preflight

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/forecast"
	"github.com/cvfeeder/cvfeeder/internal/sanitize"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
)

// Options say what to check.
type Options struct {
	// File is the name of the config file, for the output.
	File string
	// Connect also tries AWS and NATS.
	Connect bool
	// Reader is the URL of a NATS server that readers connect to, and ReaderCredentials
	// the path of a credentials file for it. Default: those of the config.
	Reader, ReaderCredentials string
	// AssumeStreams is with how many streams the plan reckons for a prefix that was not looked
	// up, or that matches none. Default: one for a prefix that was not looked up, and none
	// for one that matches none.
	AssumeStreams int
	// Measure is how long some of the streams are polled, once connected, to plan with what
	// is seen; 0 for not at all.
	Measure time.Duration
	// Wait is how long connecting to NATS may take. A test message may take twice as long.
	Wait time.Duration
}

// A checker runs the checks and collects their results.
type checker struct {
	opts Options
	cfg  *config.Config
	plan feeder.Plan
	out  *tabwriter.Writer

	client  *kinesis.Client
	streams []checked // that will be read; once connected, prefixes are replaced with streams
	// unmatched are the prefixes that match no stream, once connected.
	unmatched []checked
	failed    []error
	lines     int // of output about failures
}

// A checked stream is one that will be read, with what is known about it.
type checked struct {
	config.Stream
	picture   []byte // one of its pictures, nil if none was fetched
	retention time.Duration
	media     forecast.Media     // that the plan reckons with
	mediaOf   string             // the stream that it was measured of, "" if it is assumed
	measured  *forecast.Measured // nil if it was not
}

// Run checks cfg, and writes a line for each check to out, followed by the plan. The
// error says how many problems there were; [feeder.ExitCode] returns its exit code.
func Run(ctx context.Context, cfg *config.Config, o Options, out io.Writer) error {
	plan, err := feeder.NewPlan(cfg)
	c := &checker{opts: o, cfg: cfg, plan: plan, out: tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	for _, s := range cfg.Streams {
		c.streams = append(c.streams, checked{Stream: s, media: forecast.Assumed})
	}
	c.pass("config", "%s: %s, %s", o.File, count(len(cfg.Streams), "stream"), count(len(cfg.Outputs), "output"))
	if err != nil {
		c.fail("outputs", feeder.Usage(err))
	} else {
		c.offline()
	}
	if o.Connect && len(c.failed) == 0 {
		c.checkAWS(ctx)
		c.checkNATS(ctx)
		if len(c.failed) == 0 {
			c.measureStreams(ctx)
		}
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.assumeStreams()
	if err := c.writePlan(ctx, out); err != nil {
		return err
	}
	return c.verdict()
}

// count formats a number of things: "1 stream", "2 streams".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return grouped(float64(n)) + " " + what
}

func (c *checker) pass(what, format string, args ...any) { c.line("ok", what, format, args...) }
func (c *checker) note(what, format string, args ...any) { c.line("note", what, format, args...) }

// fail reports an error, with a line of output for each of its lines.
func (c *checker) fail(what string, err error) {
	c.failed = append(c.failed, err)
	for line := range strings.Lines(err.Error()) {
		c.lines++
		c.line("FAIL", what, "%s", sanitize.Text(strings.TrimSpace(line)))
	}
}

func (c *checker) line(how, what, format string, args ...any) {
	_, _ = fmt.Fprintf(c.out, "%s\t%s\t%s\n", how, what, fmt.Sprintf(format, args...))
}

// verdict returns the error for everything that failed, with the exit code of the worst
// failure.
func (c *checker) verdict() error {
	if len(c.failed) == 0 {
		return nil
	}
	code := feeder.ExitFailed
	for _, err := range c.failed {
		var exit *feeder.ExitError
		switch {
		case errors.Is(err, source.ErrRefused), errors.Is(err, dial.ErrRefused):
			code = feeder.ExitRefused
		case errors.As(err, &exit) && code != feeder.ExitRefused:
			code = exit.Code
		}
	}
	return &feeder.ExitError{Code: code, Err: fmt.Errorf("%s: see FAIL above", count(c.lines, "problem"))}
}

// offline checks what needs no network.
func (c *checker) offline() {
	if c.cfg.NATS.URL != config.Embedded {
		if err := c.present(c.natsOptions()).Check(); err != nil {
			c.fail("nats", feeder.Usage(err))
		}
	}
	size, which, err := c.largest()
	if err != nil {
		c.fail("outputs", feeder.Usage(err))
	}
	if err := c.cfg.Delivery.Oversize.CheckSize(size, publish.MaxServerPayload); err != nil {
		c.fail("outputs", feeder.Usage(fmt.Errorf("%s: %w", which, err)))
	}
	c.checkMemory()
	if dir := c.cfg.State; dir != "" {
		if info, err := os.Stat(dir); err == nil && !info.IsDir() {
			c.fail("state", feeder.Usage(fmt.Errorf("%s is a file: name a directory", dir)))
		}
	}
	for _, s := range c.cfg.Streams {
		if to := s.To.Time; !to.IsZero() && s.From.Kind != config.StartAt && to.Before(time.Now()) {
			c.fail("stream "+s.Name, feeder.Usage(fmt.Errorf("to is %s, which is in the past: set from to a time before it", to.Format(time.RFC3339))))
		}
	}
}

// present returns the options without the files that are not on this machine, unless it is
// to connect. A config is often checked elsewhere than where it runs and has its secrets.
func (c *checker) present(o dial.Options) dial.Options {
	if c.opts.Connect {
		return o
	}
	for _, file := range []struct {
		key  string
		path *string
	}{{"credentials", &o.Credentials}, {"tls.ca", &o.TLS.CA}, {"tls.cert", &o.TLS.Cert}, {"tls.key", &o.TLS.Key}} {
		if _, err := os.Stat(*file.path); *file.path != "" && errors.Is(err, fs.ErrNotExist) {
			c.note("nats", "nats.%s names %s, which is not on this machine: where cvfeeder runs, it must be", file.key, *file.path)
			*file.path = ""
		}
	}
	if o.TLS.Cert == "" || o.TLS.Key == "" { // one without the other cannot be checked
		o.TLS.Cert, o.TLS.Key = "", ""
	}
	return o
}

// assumeStreams plans each prefix that is not known to match streams like so many of them as
// the options say.
func (c *checker) assumeStreams() {
	var all []checked
	for _, s := range c.streams {
		n := 1
		if s.Prefix != "" {
			n = max(c.opts.AssumeStreams, 1)
		}
		all = append(all, slices.Repeat([]checked{s}, n)...)
	}
	if c.opts.AssumeStreams > 0 {
		for _, s := range c.unmatched {
			all = append(all, slices.Repeat([]checked{s}, c.opts.AssumeStreams)...)
		}
	}
	c.streams = all
}

// largest returns the size in bytes of the largest message, with everything that may be
// added to it, and which stream and output it belongs to. Outputs that are as large as
// the picture count only if the size of the pictures is known.
func (c *checker) largest() (size int, which string, err error) {
	size, which = c.plan.Largest.Bytes, c.plan.Largest.Of
	for _, s := range c.streams {
		pixels, known := s.size()
		if !known || err != nil {
			continue
		}
		for _, name := range s.Outputs {
			var n int
			if n, err = messageSize(s.Name, c.plan.Outputs[name], c.cfg.Outputs[name].Batch.Of(), pixels); n > size {
				size, which = n, fmt.Sprintf("stream %s%s, output %s", s.Name, s.Prefix, name)
			}
		}
	}
	return size + publish.TraceOverhead + c.plan.Overhead, which, err
}

// natsOptions returns the options with which the config connects to NATS, without a log:
// what matters is in the output.
func (c *checker) natsOptions() dial.Options {
	opts := c.plan.Dial()
	opts.Logger = slog.New(slog.DiscardHandler)
	return opts
}
