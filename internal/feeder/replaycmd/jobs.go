package replaycmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/internal/replay"
	"github.com/cvfeeder/cvfeeder/internal/sanitize"
	"github.com/cvfeeder/cvfeeder/internal/usage"
)

// NewJobs returns the command "jobs".
func NewJobs() *cobra.Command {
	var f flags
	var cancel string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "jobs -c FILE",
		Short: "List the replay jobs, or cancel one",
		Long: "Jobs lists the replay jobs that NATS keeps: what they replay, how far they have come\n" +
			"and what they were expected to cost. With --cancel it ends one for good; whoever runs\n" +
			"it stops within some seconds. What it has published stays.",
		Example: "  cvfeeder jobs -c cvfeeder.yaml\n  cvfeeder jobs -c cvfeeder.yaml --cancel 20260103-k3vq7fzt",
		Args:    usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			feeder, err := f.feeder(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return feeder.Jobs(cmd.Context(), func(ctx context.Context, s replay.Store) error {
				if cancel != "" {
					j, err := replay.Cancel(ctx, s, cancel)
					if err == nil {
						_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is %s\n", j.ID, j.Status)
					}
					return err
				}
				all, err := replay.List(ctx, s)
				if err != nil {
					return err
				}
				return list(cmd.OutOrStdout(), all, asJSON)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&cancel, "cancel", "", "cancel the job of this `ID`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each job")
	return cmd
}

// list prints the jobs.
func list(out io.Writer, all []*replay.Job, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(out)
		for _, j := range all {
			if err := enc.Encode(j); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "job\tstatus\tstreams\tfrom\tto\tprogress\timages\tcost\trun by")
	for _, j := range all {
		p := j.Progress()
		status := string(j.Status)
		if j.Error != "" {
			status += ": " + sanitize.Text(j.Error)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%.1f%% of %d\t%d\t%.2f %s\t%s\n",
			sanitize.Text(j.ID), status, len(j.Streams), j.From.Format(time.RFC3339), j.To.Format(time.RFC3339),
			100*share(p), p.Slots, j.Estimate.Images, j.Estimate.Money, sanitize.Text(j.Estimate.Currency), j.By)
	}
	return w.Flush()
}
