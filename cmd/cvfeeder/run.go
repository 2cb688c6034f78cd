package main

import (
	"errors"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/internal/config"
)

func newRunCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "run -c FILE",
		Short: "Run the sidecar with a config file",
		Long: "Run polls the streams of the config file and publishes their tensors until it is\n" +
			"told to stop. The first SIGINT or SIGTERM stops asking and finishes what is in\n" +
			"flight, the second ends at once.\n\n" +
			"docker/cvfeeder.yaml in the repository shows every key of the file.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usage(errors.New("no config file: name it with -c FILE"))
			}
			cfg, err := config.Load(file, os.LookupEnv)
			if err != nil {
				return usage(err)
			}
			f := &feeder{cfg: cfg, log: newLogger(cmd.ErrOrStderr(), cfg.Log)}
			return f.run(cmd.Context())
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "config `FILE`")
	return cmd
}

func newLogger(w io.Writer, cfg config.Log) *slog.Logger {
	var level slog.Level
	// The config holds one of slog's own names.
	_ = level.UnmarshalText([]byte(cfg.Level))
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
