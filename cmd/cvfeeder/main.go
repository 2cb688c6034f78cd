// Command cvfeeder turns what cameras have stored in Amazon Kinesis Video Streams
// into tensors on NATS subjects. "cvfeeder demo" shows all of it on one machine
// without any account; "cvfeeder run -c cvfeeder.yaml" is the sidecar.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	exitFailed  = 1 // failed while running
	exitUsage   = 2 // wrong usage or config
	exitRefused = 3 // credentials or permission refused
)

// An exitError is an error that decides the exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// gcPercent takes the place of Go's 100. Nearly all of the memory is pictures and
// tensors, which cost the collector nothing to look at, so that it may well run
// more often: a quarter of the resident memory less, for no CPU time to speak of.
const gcPercent = 40

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Once the first signal is taken, the second has its usual effect.
	context.AfterFunc(ctx, stop)
	endWithin(ctx, endTime, os.Stderr, os.Exit)
	code := run(ctx, newCommand())
	stop()
	os.Exit(code)
}

// endTime is what the end of the process may take, all of its steps together: less
// than the 30 seconds after which Kubernetes kills it. Usually it takes none of that,
// and with a broker that hangs, about half.
const endTime = 25 * time.Second

// endWithin has the process end some time after ctx has, whatever hangs. What is in
// flight then was not acknowledged, and will be repeated.
func endWithin(ctx context.Context, limit time.Duration, out io.Writer, exit func(int)) {
	context.AfterFunc(ctx, func() {
		time.AfterFunc(limit, func() {
			_, _ = fmt.Fprintf(out, "cvfeeder: not at the end %v after the signal: what is in flight is left to be repeated\n", limit)
			exit(exitFailed)
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
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "cvfeeder: %s\n", strings.TrimSuffix(line, "\n"))
	}
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return exitFailed
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "cvfeeder",
		Short: "Cameras in Amazon Kinesis Video Streams to tensors on NATS",
		Long: "cvfeeder turns what cameras have stored in Amazon Kinesis Video Streams into\n" +
			"tensors that a model can take as they are, and publishes them on NATS subjects.\n\n" +
			"Try \"cvfeeder demo\": it needs no account.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          usageArgs(cobra.NoArgs),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w: see %q", err, cmd.CommandPath()+" --help"))
	})
	root.AddCommand(newRunCommand(), newCheckCommand(), newDemoCommand(), newPreviewCommand(), newTapCommand(), newFakeCommand(),
		newSchemaCommand(), newHealthCommand(), newManCommand(), newVersionCommand())
	addCompletion(root)
	for _, c := range root.Commands() {
		c.Args = usageArgs(c.Args)
	}
	return root
}

// addCompletion adds cobra's command that writes the shells' completions. Without a
// function of its own it would show its help for a shell that there is not.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

// usage makes err one of wrong usage.
func usage(err error) error { return &exitError{exitUsage, err} }

// usageArgs makes a refusal of arguments one of wrong usage.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check == nil {
			check = cobra.ArbitraryArgs
		}
		if err := check(cmd, args); err != nil {
			return usage(fmt.Errorf("%w: see %q", err, cmd.CommandPath()+" --help"))
		}
		return nil
	}
}
