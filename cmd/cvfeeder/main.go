// Command cvfeeder turns what cameras have stored in Amazon Kinesis Video Streams
// into tensors on NATS subjects. "cvfeeder demo" shows everything on one machine
// without an account; "cvfeeder run -c cvfeeder.yaml" is the sidecar.
//
// Each command has a file of its own, which is why the package is larger than most packages.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/replaycmd"
	"github.com/cvfeeder/cvfeeder/internal/presetscmd"
	"github.com/cvfeeder/cvfeeder/internal/sanitize"
	"github.com/cvfeeder/cvfeeder/internal/usage"
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(feeder.GCPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal, a second one has its default effect: it kills the process.
	context.AfterFunc(ctx, stop)
	endWithin(ctx, endTime, os.Stderr, os.Exit)
	code := run(ctx, newCommand())
	stop()
	os.Exit(code)
}

// endTime is how long all steps of a shutdown may take together. It is less than the 30
// seconds after which Kubernetes kills the process. Usually a shutdown takes almost no
// time, and about half of this if the broker hangs.
const endTime = 25 * time.Second

// endWithin exits once ctx has been done for the limit, whatever hangs. Frames that are
// still in flight were not acknowledged, and will be repeated.
func endWithin(ctx context.Context, limit time.Duration, out io.Writer, exit func(int)) {
	context.AfterFunc(ctx, func() {
		time.AfterFunc(limit, func() {
			_, _ = fmt.Fprintf(out, "cvfeeder: the shutdown is not finished %v after the signal: exiting; frames in flight will be repeated\n", limit)
			exit(feeder.ExitFailed)
		})
	})
}

// run executes a command, prints its error, and returns the exit code.
func run(ctx context.Context, cmd *cobra.Command) int {
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	for line := range strings.Lines(strings.TrimSpace(err.Error())) {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "cvfeeder: %s\n", sanitize.Text(strings.TrimSuffix(line, "\n")))
	}
	return feeder.ExitCode(err)
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "cvfeeder",
		Short: "Turn cameras in Amazon Kinesis Video Streams into tensors on NATS",
		Long: "cvfeeder turns what cameras have stored in Amazon Kinesis Video Streams into\n" +
			"tensors that a model takes as they are, and publishes them on NATS subjects.\n\n" +
			"Try \"cvfeeder demo\": it needs no account.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       feeder.Version(),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return feeder.Usage(usage.FlagError(cmd, err))
	})
	root.SetVersionTemplate(versionLine())
	root.AddCommand(newInitCommand(), newRunCommand(), newCheckCommand(), newDemoCommand(), newPreviewCommand(), newTapCommand(), newFakeCommand(),
		newSchemaCommand(), presetscmd.New(feeder.Usage), replaycmd.NewReplay(), replaycmd.NewJobs(), newHealthCommand(), newManCommand(), newVersionCommand())
	addCompletion(root)
	root.Args = usageArgs(root.Args)
	for _, c := range root.Commands() {
		c.Args = usageArgs(c.Args)
	}
	return root
}

// addCompletion adds cobra's command that prints shell completions. Without a RunE of
// its own, that command would accept shells that it does not know.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Example = "  source <(cvfeeder completion bash)   # for this shell\n" +
				"  cvfeeder completion zsh > \"${fpath[1]}/_cvfeeder\""
			c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

// usageArgs returns check with its errors marked as wrong usage.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	check = usage.Arguments(check)
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return feeder.Usage(err)
		}
		return nil
	}
}
