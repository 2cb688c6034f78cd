package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/natspub"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/transform"
)

// checkFlags are those of the check command.
type checkFlags struct {
	file    string
	connect bool
	reader  natspub.Options
	wait    time.Duration
}

func newCheckCommand() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check -c FILE [--connect]",
		Short: "Check a config file, and what it will cost",
		Long: `Check lists all that is wrong with a config file, and prints the plan: bytes and
images, money, the share of the service's quota, CPU and memory.

With --connect it also tries the credentials, each stream, its permissions and
retention, NATS, its permissions and JetStream, and whether a message as large as
the largest tensor arrives at a subscriber. Nothing is created, and nothing but
test messages is published. GetImages is asked for two images of some streams.

A NATS server between cvfeeder and its readers may take less than the one that
cvfeeder connects to, such as the hub of a leaf node: messages that are too large
are then lost without an error. --reader names a server that readers connect to,
so that the whole way is tried.

The exit code is 0 where all is well, 2 where the config is wrong, 3 where
credentials or a permission are refused, and 1 where something else is.`,
		Example: "  cvfeeder check -c cvfeeder.yaml --connect --reader nats://hub.example:4222",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(f.file)
			if err != nil {
				return usage(err)
			}
			return f.run(cmd.Context(), cfg, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "config", "c", "", "config `FILE`")
	flags.BoolVar(&f.connect, "connect", false, "try AWS and NATS, too")
	flags.StringVar(&f.reader.URL, "reader", "", "`URL` of a NATS server that readers connect to (default: the config's)")
	flags.StringVar(&f.reader.Credentials, "reader-creds", "", "credentials `FILE` for --reader (default: the config's)")
	flags.DurationVar(&f.wait, "wait", 10*time.Second, "how long NATS, and a message, may take")
	return cmd
}

// A checker collects what was checked.
type checker struct {
	flags checkFlags
	cfg   *config.Config
	out   *tabwriter.Writer

	outputs map[string]*transform.Output
	client  *kinesis.Client
	streams []checked // that will be read, those of prefixes included
	failed  []error
	lines   int // that say so
}

// A checked stream is one that will be read, and what is known of it.
type checked struct {
	config.Stream
	picture []byte // one of its own, where it was fetched
}

func (f checkFlags) run(ctx context.Context, cfg *config.Config, out io.Writer) error {
	c := &checker{flags: f, cfg: cfg, out: tabwriter.NewWriter(out, 0, 0, 2, ' ', 0), outputs: transforms(cfg)}
	for _, s := range cfg.Streams {
		c.streams = append(c.streams, checked{Stream: s})
	}
	c.pass("config", "%s: %s, %s", f.file, count(len(cfg.Streams), "stream"), count(len(cfg.Outputs), "output"))
	c.offline()
	if f.connect && len(c.failed) == 0 {
		c.checkAWS(ctx)
		c.checkNATS(ctx)
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := c.plan(out); err != nil {
		return err
	}
	return c.verdict()
}

// count writes a number of things.
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return grouped(float64(n)) + " " + what
}

func (c *checker) pass(what, format string, args ...any) { c.line("ok", what, format, args...) }
func (c *checker) note(what, format string, args ...any) { c.line("note", what, format, args...) }

// fail tells of an error, each of its lines by itself.
func (c *checker) fail(what string, err error) {
	c.failed = append(c.failed, err)
	for line := range strings.Lines(err.Error()) {
		c.lines++
		c.line("FAIL", what, "%s", strings.TrimSpace(line))
	}
}

func (c *checker) line(how, what, format string, args ...any) {
	_, _ = fmt.Fprintf(c.out, "%s\t%s\t%s\n", how, what, fmt.Sprintf(format, args...))
}

// verdict returns the error that decides the exit code.
func (c *checker) verdict() error {
	if len(c.failed) == 0 {
		return nil
	}
	code := exitFailed
	for _, err := range c.failed {
		var exit *exitError
		switch {
		case errors.Is(err, source.ErrRefused), errors.Is(err, natspub.ErrRefused):
			code = exitRefused
		case errors.As(err, &exit) && code != exitRefused:
			code = exit.code
		}
	}
	return &exitError{code, fmt.Errorf("%s: see FAIL above", count(c.lines, "problem"))}
}

// offline checks what can be known without the network.
func (c *checker) offline() {
	if c.cfg.NATS.URL != config.Embedded {
		if err := c.natsOptions().Check(); err != nil {
			c.fail("nats", usage(err))
		}
	}
	size, which, err := c.largest()
	if err != nil {
		c.fail("outputs", usage(err))
	}
	if err := publish.CheckSize(size, publish.MaxServerPayload); err != nil && c.cfg.Delivery.Oversize == "reject" {
		c.fail("outputs", usage(fmt.Errorf("%s: %w", which, err)))
	}
	if dir := c.cfg.State; dir != "" {
		if info, err := os.Stat(dir); err == nil && !info.IsDir() {
			c.fail("state", usage(fmt.Errorf("%s is a file: name a directory", dir)))
		}
	}
	for _, s := range c.cfg.Streams {
		if to := s.To.Time; !to.IsZero() && s.From.Kind != config.StartAt && to.Before(time.Now()) {
			c.fail("stream "+s.Name, usage(fmt.Errorf("to is %s, which has passed, and the stream begins later: set from", to.Format(time.RFC3339))))
		}
	}
}

// largest returns the size of the largest message, with all that may be added to it,
// as far as it is known what pictures there are.
func (c *checker) largest() (size int, which string, err error) {
	size, which, err = largest(c.cfg, c.outputs)
	for _, s := range c.streams {
		pixels, known := s.size()
		if !known || err != nil {
			continue
		}
		for _, name := range s.Outputs {
			var n int
			if n, err = messageSize(s.Name, c.outputs[name], pixels); n > size {
				size, which = n, fmt.Sprintf("stream %s%s, output %s", s.Name, s.Prefix, name)
			}
		}
	}
	size += publish.TraceOverhead
	if c.cfg.Delivery.Mode != modeLive {
		size += natspub.StoredOverhead
	}
	return size, which, err
}

func (c *checker) natsOptions() natspub.Options {
	n := c.cfg.NATS
	return natspub.Options{
		URL: n.URL, Credentials: n.Credentials, TLS: natspub.TLS(n.TLS), Logger: slog.New(slog.DiscardHandler),
	}
}
