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
		Short: "Check a config file and estimate what it will cost",
		Long: `Check lists everything that is wrong with a config file, and prints the plan: bytes
and images, cost, the share of the service's quota, CPU and memory.

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

The exit code is 0 if all is well, 2 if the config is wrong, 3 if credentials or a
permission are refused, and 1 for any other problem.`,
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
	flags.BoolVar(&o.Connect, "connect", false, "also try AWS and NATS")
	flags.DurationVar(&o.Measure, "measure", time.Minute, "how long some of the streams are polled with --connect, to plan with what is seen; 0 for not at all")
	flags.StringVar(&o.Reader, "reader", "", "`URL` of a NATS server that readers connect to (default: the config's)")
	flags.StringVar(&o.ReaderCredentials, "reader-creds", "", "credentials `FILE` for --reader (default: the config's)")
	flags.DurationVar(&o.Wait, "wait", 10*time.Second, "how long connecting to NATS may take; a test message may take twice as long")
	return cmd
}
