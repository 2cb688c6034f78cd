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
	"github.com/cvfeeder/cvfeeder/internal/logging"
	"github.com/cvfeeder/cvfeeder/internal/tracing"
)

var errNoFile = errors.New("no config file: name it with -c FILE")

func newRunCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "run -c FILE",
		Short: "Run the sidecar with a config file",
		Long: "Run polls the streams of the config file and publishes their tensors until it is\n" +
			"told to stop. The first SIGINT or SIGTERM stops asking and finishes what is in\n" +
			"flight, the second ends at once. When the file changes, or by SIGHUP, streams and\n" +
			"outputs are added, removed and changed while the others go on. When every stream has an end (to), run ends when all\n" +
			"is done, with a summary.\n\n" +
			"docker/cvfeeder.yaml in the repository shows every key of the file.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usage(errNoFile)
			}
			cfg, watch, err := config.LoadWatched(file, os.LookupEnv)
			if err != nil {
				return usage(err)
			}
			log, endLog := beginLog(cmd.ErrOrStderr(), cfg.Log)
			defer endLog()
			f := &feeder{cfg: cfg, file: watch, log: log}
			if !cfg.Finite() {
				hangup := make(chan os.Signal, 1)
				signal.Notify(hangup, syscall.SIGHUP)
				defer signal.Stop(hangup)
				f.hangup = hangup
			}
			p := newProgress(cmd.OutOrStdout())
			f.watch = func(_ context.Context, r running) { p.last = r }
			if err := f.run(cmd.Context()); err != nil {
				return err
			}
			if cfg.Finite() {
				return p.summary()
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "config `FILE`")
	return cmd
}

// loadConfig reads the config file that a user named.
func loadConfig(file string) (*config.Config, error) {
	if file == "" {
		return nil, errNoFile
	}
	return config.Load(file, os.LookupEnv)
}

func newLogger(w io.Writer, cfg config.Log) *slog.Logger {
	var level slog.Level
	// The config holds one of slog's own names.
	_ = level.UnmarshalText([]byte(cfg.Level))
	return logging.New(w, logging.Options{Level: level, JSON: cfg.Format == "json"})
}

// beginLog makes the log a command's, and that of libraries that write to Go's own. What
// it returns ends its use.
func beginLog(w io.Writer, cfg config.Log) (log *slog.Logger, end func()) {
	log = newLogger(w, cfg)
	slog.SetDefault(log)
	tracing.LogTo(log)
	return log, func() { logging.End(log) }
}
