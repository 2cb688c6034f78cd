package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/tap"
	"github.com/cvfeeder/cvfeeder/internal/usage"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// newTapCommand returns the command that shows the messages on NATS.
func newTapCommand() *cobra.Command {
	var o tap.Options
	cmd := &cobra.Command{
		Use:   "tap [SUBJECT]",
		Short: "Show the tensors on NATS as they arrive, one line each",
		Long: `Tap shows the tensors on NATS as they arrive, one line each, and the gaps between
them.

SUBJECT may contain wildcards: cvf.t.front-door.> matches all outputs of one stream.
The default is ` + tap.DefaultSubject + `, all tensors; it then also says which subjects
there are. The age of a tensor is the time from its slot until it came.`,
		Example: `  cvfeeder tap
  cvfeeder tap 'cvf.t.front-door.>' --save seen --count 10`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.Subject = args[0]
			}
			o.Out, o.Err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			if err := o.Check(); err != nil {
				return feeder.Usage(err)
			}
			seen, err := tap.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.ErrOrStderr(), seen)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.URL, "nats", dial.DefaultURL, "`URL` of the NATS server")
	flags.StringVar(&o.Credentials, "creds", "", "credentials `FILE` for NATS: a .creds file, or the seed of an nkey")
	flags.StringVar(&o.TLS.CA, "tls-ca", "", "PEM `FILE` of the certificate authorities to trust")
	flags.StringVar(&o.TLS.Cert, "tls-cert", "", "PEM `FILE` of the client's certificate, for mutual TLS")
	flags.StringVar(&o.TLS.Key, "tls-key", "", "PEM `FILE` of the certificate's key")
	flags.StringVar(&o.Save, "save", "", "write each tensor to `DIR`, as an npy file and as a PNG that shows what the model sees")
	cmd.ValidArgsFunction = usage.Values(func(ctx context.Context, _ []string) []string { return tap.Published(ctx, o) })
	flags.IntVar(&o.Count, "count", 0, "stop after `N` tensors; 0 runs until interrupted")
	return cmd
}
