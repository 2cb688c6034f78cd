package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/preflight"
)

func newCheckCommand() *cobra.Command {
	var o preflight.Options
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
			cfg, err := loadConfig(o.File)
			if err != nil {
				return feeder.Usage(err)
			}
			return preflight.Run(cmd.Context(), cfg, o, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.File, "config", "c", "", "config `FILE`")
	flags.BoolVar(&o.Connect, "connect", false, "try AWS and NATS, too")
	flags.StringVar(&o.Reader, "reader", "", "`URL` of a NATS server that readers connect to (default: the config's)")
	flags.StringVar(&o.ReaderCredentials, "reader-creds", "", "credentials `FILE` for --reader (default: the config's)")
	flags.DurationVar(&o.Wait, "wait", 10*time.Second, "how long NATS, and a message, may take")
	return cmd
}
