package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/internal/confirm"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/preflight"
	"github.com/cvfeeder/cvfeeder/internal/starter"
	"github.com/cvfeeder/cvfeeder/internal/usage"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/transform"
)

// initFlags are the flags of the init command.
type initFlags struct {
	starter.Answers
	file       string
	force, yes bool
}

func newInitCommand() *cobra.Command {
	f := initFlags{file: "cvfeeder.yaml"}
	cmd := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a first config file",
		Long: `Init writes a config file with comments, by default cvfeeder.yaml, and checks it. On a
terminal it asks for what the flags do not say, and shows the account's streams if
they may be listed. Otherwise, and with --yes, the flags and their defaults are all it
needs. It overwrites no file without --force.`,
		Example: `  cvfeeder init
  cvfeeder init yard.yaml --yes --region eu-west-1 --stream front-door --stream back-door
  cvfeeder init --yes --prefix cam- --interval 1s --preset clip --mode durable`,
		Args: usage.File("", &f.file),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Region, "region", os.Getenv("AWS_REGION"), "AWS `region` of the cameras (default: $AWS_REGION)")
	flags.StringVar(&f.Endpoint, "endpoint", "", "`URL` of a service in place of AWS, such as that of \"cvfeeder fake\"")
	flags.StringSliceVar(&f.Streams, "stream", nil, "`NAME` of a camera's stream; may be repeated")
	flags.StringVar(&f.Prefix, "prefix", "", "take all streams whose names begin with this `PREFIX`")
	flags.DurationVar(&f.Interval, "interval", source.MinInterval, "time between pictures")
	flags.StringVar(&f.Preset, "preset", "yolo", "`model` that the pictures are for: yolo, imagenet, clip, raw or none")
	flags.StringVar(&f.Output, "output", "", "`NAME` of the output (default: one that suits the preset)")
	flags.StringVar(&f.NATS, "nats", dial.DefaultURL, "`URL` of the NATS server, or embedded")
	flags.StringVar(&f.Mode, "mode", "live", "delivery `mode`: live, ring or durable")
	flags.BoolVar(&f.force, "force", false, "replace the file if it exists")
	flags.BoolVarP(&f.yes, "yes", "y", false, "ask nothing")
	usage.Complete(cmd, "preset", usage.Names(transform.PresetNames()...))
	usage.Complete(cmd, "mode", usage.Names(starter.Modes()...))
	usage.Complete(cmd, "stream", func(ctx context.Context, _ []string) []string {
		names, _ := listStreams(ctx, f.Region, f.Endpoint) // where they may not be listed, there are none
		return names
	})
	return cmd
}

func (f initFlags) run(cmd *cobra.Command) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	if err := starter.Exists(f.file, f.force); err != nil {
		return feeder.Usage(err)
	}
	if !f.yes && confirm.IsTerminal(cmd.InOrStdin()) {
		if err := f.Ask(ctx, cmd.InOrStdin(), out, cmd.Flags().Changed, listStreams); err != nil {
			return feeder.Usage(err)
		}
	} else if err := f.Missing(ctx, listStreams); err != nil {
		return feeder.Usage(err)
	}
	text, cfg, err := f.Text(f.file)
	if err != nil {
		return feeder.Usage(err)
	}
	if err := starter.Write(f.file, text, f.force); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "%s is written.\n\n", f.file); err != nil {
		return err
	}
	if err := preflight.Run(ctx, cfg, preflight.Options{File: f.file}, out); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "\nNext, try the cameras and NATS, and then run it:\n\n  cvfeeder check -c %[1]s --connect\n  cvfeeder run -c %[1]s\n", f.file)
	return err
}

// listStreams is a [starter.Lister].
func listStreams(ctx context.Context, region, endpoint string) ([]string, error) {
	client, err := kinesis.New(ctx, kinesis.Options{Region: region, Endpoint: endpoint, Attempts: 1})
	if err != nil {
		return nil, err
	}
	return client.List(ctx, "")
}
