package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/logging"
	"github.com/cvfeeder/cvfeeder/internal/tracing"
	"github.com/cvfeeder/cvfeeder/internal/usage"
)

var errNoFile = errors.New("no config file: name it with -c FILE")

func newRunCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "run [-c] FILE",
		Short: "Run the sidecar with a config file",
		Long: "Run polls the streams in the config file and publishes their tensors until it is\n" +
			"stopped. The first SIGINT or SIGTERM stops polling and finishes what is in flight;\n" +
			"the second exits at once. When the file changes, or on SIGHUP, run adds, removes and\n" +
			"changes streams and outputs while the others continue. If every stream has an end\n" +
			"(to), run exits when all are done, with a summary.\n\n" +
			"docker/cvfeeder.yaml in the repository shows every key of the file.",
		Example: "  cvfeeder run -c cvfeeder.yaml\n" +
			"  kill -HUP $(pidof cvfeeder)   # read the file again now",
		Args: usage.File("config", &file),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return feeder.Usage(errNoFile)
			}
			cfg, watch, err := config.LoadWatched(file, os.LookupEnv)
			if err != nil {
				return feeder.Usage(err)
			}
			log, endLog := beginLog(cmd.ErrOrStderr(), cfg.Log)
			defer endLog()
			p := newProgress(cmd.OutOrStdout())
			o := feeder.Options{
				Config: cfg, File: watch, Log: log,
				Started: func(_ context.Context, r feeder.Running) { p.last = &r },
			}
			if !cfg.Finite() {
				hangup := make(chan os.Signal, 1)
				signal.Notify(hangup, syscall.SIGHUP)
				defer signal.Stop(hangup)
				o.Hangup = hangup
			}
			if err := feeder.New(o).Run(cmd.Context()); err != nil {
				return err
			}
			if cfg.Finite() {
				return p.summary()
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "config `FILE`")
	completeConfig(cmd)
	return cmd
}

// completeConfig has the shell complete the config file, with its flag and without.
func completeConfig(cmd *cobra.Command) {
	usage.CompleteFiles(cmd, "config", "yaml", "yml")
	cmd.ValidArgsFunction = usage.Files("yaml", "yml")
}

// loadConfig reads the config file that a user named.
func loadConfig(file string) (*config.Config, error) {
	if file == "" {
		return nil, errNoFile
	}
	return config.Load(file, os.LookupEnv)
}

func newLogger(w io.Writer, cfg config.Log) *slog.Logger {
	return logging.New(w, logging.Options{Level: cfg.Level.Level(), JSON: cfg.Format == config.LogJSON})
}

// beginLog returns the logger of a command. Libraries that use Go's default logger write
// to it, too. Call end when the command is done.
func beginLog(w io.Writer, cfg config.Log) (log *slog.Logger, end func()) {
	log = newLogger(w, cfg)
	slog.SetDefault(log)
	tracing.LogTo(log)
	return log, func() { logging.End(log) }
}
