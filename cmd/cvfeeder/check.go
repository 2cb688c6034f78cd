package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/confirm"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/preflight"
	"github.com/cvfeeder/cvfeeder/internal/preflight/assumptions"
	"github.com/cvfeeder/cvfeeder/internal/usage"
)

// checkFlags are the flags of the check command.
type checkFlags struct {
	preflight.Options
	assumptions, yes, json bool
	images                 int
}

// maxAssumed limits what a typing error can plan for.
const maxAssumed = 100_000

func newCheckCommand() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check [-c] FILE [--connect [--assumptions]]",
		Short: "Check a config file and estimate what it will cost",
		Long: `Check lists everything that is wrong with a config file, and prints the plan: bytes
and images, cost, the share of the service's quota, CPU and memory. Without --connect
it needs neither a network nor the files of credentials that the config names, so it
can run in CI; files that are there are checked.

With --connect it also tries the AWS credentials, each stream with its permissions
and retention, and NATS with its permissions and JetStream. It sends a message as
large as the largest tensor, and waits for it to arrive at a subscriber. It creates
nothing, and publishes nothing but test messages. It requests two images each from
up to 20 streams. Then it polls up to four streams for a minute, as "cvfeeder run"
would, and plans with what it sees of fragments, delay and pages. It says before
how many images that costs at most. --measure 0 leaves it out, and the plan then
says what it assumes.

A NATS server between cvfeeder and its readers, such as the hub of a leaf node, may
accept smaller messages than the server that cvfeeder connects to. Larger ones are
then lost without an error. With --reader, the test message has to arrive at a
server that readers connect to.

With --connect --assumptions it does something else: it asks the first streams of
the file the questions on which cvfeeder rests, such as when media becomes visible
and what throttles, and prints whether the service does what cvfeeder was tried
with. It says before what that costs at most, and asks whether to go on; --yes
agrees in advance. --json prints a report without anything of the account in it.

The exit code is 0 if all is well, 2 if the config is wrong, 3 if credentials or a
permission are refused, and 1 for any other problem. With --assumptions it is 0 if
all questions were asked, whatever the answers.`,
		Example: "  cvfeeder check -c cvfeeder.yaml\n" +
			"  cvfeeder check -c cvfeeder.yaml --assume-streams 200\n" +
			"  cvfeeder check -c cvfeeder.yaml --connect --reader nats://hub.example:4222\n" +
			"  cvfeeder check -c cvfeeder.yaml --connect --assumptions --images 300 --yes --json > report.json",
		Args: usage.File("config", &f.File),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.File, "config", "c", "", "config `FILE`")
	flags.BoolVar(&f.Connect, "connect", false, "also try AWS and NATS")
	flags.DurationVar(&f.Measure, "measure", time.Minute, "how long some of the streams are polled with --connect, to plan with what is seen; 0 for not at all")
	flags.IntVar(&f.AssumeStreams, "assume-streams", 0, "plan with this `number` of streams for each prefix that is not looked up, or matches none")
	flags.StringVar(&f.Reader, "reader", "", "`URL` of a NATS server that readers connect to (default: the config's)")
	flags.StringVar(&f.ReaderCredentials, "reader-creds", "", "credentials `FILE` for --reader (default: the config's)")
	flags.DurationVar(&f.Wait, "wait", 10*time.Second, "how long connecting to NATS may take; a test message may take twice as long")
	flags.BoolVar(&f.assumptions, "assumptions", false, "with --connect: ask the service what cvfeeder assumes of it, and nothing else")
	flags.IntVar(&f.images, "images", assumptions.DefaultImages, "`number` of images that --assumptions may ask for")
	flags.BoolVar(&f.yes, "yes", false, "agree to what --assumptions costs")
	flags.BoolVar(&f.json, "json", false, "print what --assumptions finds as JSON")
	completeConfig(cmd)
	return cmd
}

func (f checkFlags) run(cmd *cobra.Command) error {
	if err := f.check(cmd); err != nil {
		return feeder.Usage(err)
	}
	cfg, err := loadConfig(f.File)
	if err != nil {
		return feeder.Usage(err)
	}
	if f.assumptions {
		return f.ask(cmd.Context(), cmd, cfg)
	}
	return preflight.Run(cmd.Context(), cfg, f.Options, cmd.OutOrStdout())
}

// check returns an error for flags that do not go together.
func (f checkFlags) check(cmd *cobra.Command) error {
	if f.assumptions && !f.Connect {
		return errors.New("--assumptions asks the service: add --connect")
	}
	for _, name := range []string{"images", "yes", "json"} {
		if cmd.Flags().Changed(name) && !f.assumptions {
			return fmt.Errorf("--%s goes with --assumptions", name)
		}
	}
	if f.AssumeStreams < 0 || f.AssumeStreams > maxAssumed {
		return fmt.Errorf("--assume-streams %d: it must be from 1 to %d", f.AssumeStreams, maxAssumed)
	}
	if f.images < 1 {
		return fmt.Errorf("--images %d: it must be 1 or more", f.images)
	}
	if f.Measure < 0 {
		return fmt.Errorf("--measure %v: it must not be negative", f.Measure)
	}
	return nil
}

// ask asks the service what cvfeeder assumes of it.
func (f checkFlags) ask(ctx context.Context, cmd *cobra.Command, cfg *config.Config) error {
	if !f.yes && !confirm.IsTerminal(cmd.InOrStdin()) {
		return feeder.Usage(fmt.Errorf("--assumptions asks for up to %d images, which costs %s: without a terminal to ask whether to go on, agree with --yes",
			f.images, preflight.Price(cfg, f.images)))
	}
	return preflight.Ask(ctx, cfg, preflight.AskOptions{
		File: f.File, Images: f.images, JSON: f.json, Log: cmd.ErrOrStderr(),
		Agree: func(what string) error {
			return confirm.Ask(what, f.yes, cmd.InOrStdin(), cmd.ErrOrStderr(), errDisagreed)
		},
	}, cmd.OutOrStdout())
}

var errDisagreed = errors.New("nothing was asked, as you wished")
