// Package replaycmd has the commands of replay jobs: "cvfeeder replay" and "cvfeeder jobs".
package replaycmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/confirm"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/logging"
	"github.com/cvfeeder/cvfeeder/internal/replay"
	"github.com/cvfeeder/cvfeeder/internal/usage"
	"github.com/cvfeeder/cvfeeder/source"
)

// flags are those of both commands.
type flags struct {
	file, nats string
	log        *slog.Logger
}

// add adds the flags to a command.
func (f *flags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "config `FILE`")
	cmd.Flags().StringVar(&f.nats, "nats", "", "`URL` of the NATS server in place of nats.url")
	usage.CompleteFiles(cmd, "config", "yaml", "yml")
}

// feeder reads the config.
func (f *flags) feeder(errOut io.Writer) (*feeder.Feeder, error) {
	if f.file == "" {
		return nil, feeder.Usage(errors.New("no config file: name it with -c FILE"))
	}
	cfg, err := config.Load(f.file, os.LookupEnv)
	if err != nil {
		return nil, feeder.Usage(err)
	}
	if f.nats != "" {
		cfg.NATS.URL = f.nats
	}
	f.log = logging.New(errOut, logging.Options{Level: max(cfg.Log.Level.Level(), slog.LevelWarn), JSON: cfg.Log.Format == config.LogJSON})
	return feeder.New(feeder.Options{Config: cfg, Log: f.log}), nil
}

// NewReplay returns the command "replay".
func NewReplay() *cobra.Command {
	r := &replayCommand{}
	cmd := &cobra.Command{
		Use:   "replay -c FILE --streams PATTERN --from TIME --to TIME",
		Short: "Publish a range of the past, as fast as quota and cores allow",
		Long: "Replay reads a range of the past of streams in the config file, and publishes their\n" +
			"tensors on subjects of their own, cvf.r.<job>.<stream>.<output>, through JetStream:\n" +
			"every slot once and in order, however often it is interrupted. Live consumers are not\n" +
			"disturbed, and the live edge keeps its part of the streams' quota. A message with the\n" +
			"header Cvf-End comes last on each subject.\n\n" +
			"It says before what that costs, and asks whether to go on; --yes agrees in advance.\n" +
			"Ctrl-C pauses the job, and --job ID goes on with it, as after a crash. \"cvfeeder jobs\"\n" +
			"lists all jobs, and cancels them.",
		Example: "  cvfeeder replay -c cvfeeder.yaml --streams 'cam-*' --from 2026-01-02T00:00:00Z --to 2026-01-03T00:00:00Z\n" +
			"  cvfeeder replay -c cvfeeder.yaml --streams front-door --from -2h --to -1h --interval 1s --yes\n" +
			"  cvfeeder replay -c cvfeeder.yaml --job 20260103-k3vq7fzt",
		Args: usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd) },
	}
	r.add(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&r.streams, "streams", nil, "comma-separated `PATTERNS` of the streams' names, such as cam-*")
	f.StringVar(&r.from, "from", "", "`TIME` of the first slot: RFC 3339, or how long ago, such as -2h")
	f.StringVar(&r.to, "to", "", "`TIME` before which the range ends, in the same forms")
	f.DurationVar(&r.interval, "interval", 0, "time between samples (default: that of each stream)")
	f.StringSliceVar(&r.outputs, "outputs", nil, "comma-separated `NAMES` of outputs (default: all of each stream)")
	f.StringVar(&r.quota, "quota", "", "`SHARE` of each stream's quota that is used at most (default: replay.quota, 50%)")
	f.BoolVar(&r.yes, "yes", false, "agree to what it costs")
	f.StringVar(&r.job, "job", "", "go on with the job of this `ID`")
	return cmd
}

type replayCommand struct {
	flags
	streams, outputs     []string
	from, to, quota, job string
	interval             time.Duration
	yes                  bool
}

// request returns what the flags ask for at a given present.
func (r *replayCommand) request(now time.Time) (q feeder.ReplayRequest, err error) {
	q = feeder.ReplayRequest{Streams: r.streams, Outputs: r.outputs, Interval: r.interval, By: "command"}
	if len(q.Streams) == 0 {
		return q, errors.New("no streams: name them with --streams, such as --streams 'cam-*'")
	}
	if q.From, err = instant("--from", r.from, now); err != nil {
		return q, err
	}
	if q.To, err = instant("--to", r.to, now); err != nil {
		return q, err
	}
	if r.quota != "" {
		var share config.Share
		if err := share.UnmarshalText([]byte(r.quota)); err != nil {
			return q, fmt.Errorf("--quota: %w", err)
		}
		if share == 0 {
			return q, errors.New("--quota: with 0% the job would read nothing; for example 50%")
		}
		q.Quota = float64(share)
	}
	return q, nil
}

// instant reads a time, or how long ago it is.
func instant(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, fmt.Errorf("%s is missing: a time such as 2026-01-02T03:04:05Z, or how long ago, such as -2h", flag)
	}
	if d, err := time.ParseDuration(text); err == nil && d <= 0 {
		return now.Add(d).Truncate(time.Second), nil
	}
	t, err := source.ParseTime(text)
	if err != nil {
		return t, fmt.Errorf("%s: %w, nor how long ago it is, such as -2h", flag, err)
	}
	return t, nil
}

func (r *replayCommand) run(cmd *cobra.Command) error {
	q, err := r.request(time.Now())
	if err != nil && r.job == "" {
		return feeder.Usage(err)
	}
	if r.job != "" && (len(r.streams) > 0 || r.from != "" || r.to != "" || r.interval != 0 || len(r.outputs) > 0 || r.quota != "") {
		return feeder.Usage(errors.New("--job goes on with a job as it was begun: leave out the flags that describe one"))
	}
	f, err := r.feeder(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	return f.Replay(cmd.Context(), func(ctx context.Context, replays *feeder.Replays) error {
		j, err := r.begin(ctx, cmd, replays, q)
		if err != nil {
			return err
		}
		show := newProgress(cmd.OutOrStdout(), time.Now())
		err = replays.Run(ctx, j.ID, show.show)
		show.end()
		if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "the job is paused: go on with cvfeeder replay -c %s --job %s\n", r.file, j.ID)
			return nil
		}
		return err
	})
}

// begin returns the job to run.
func (r *replayCommand) begin(ctx context.Context, cmd *cobra.Command, replays *feeder.Replays, q feeder.ReplayRequest) (*replay.Job, error) {
	if r.job != "" {
		return replays.Get(ctx, r.job)
	}
	j, err := replays.Plan(ctx, q)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("job %s: %v\ntensors go to cvf.r.%s.<stream>.<output>\n", j.ID, j.Estimate, j.ID)
	if !r.yes && !confirm.IsTerminal(cmd.InOrStdin()) {
		_, _ = fmt.Fprint(cmd.ErrOrStderr(), what)
		return nil, feeder.Usage(errors.New("replaying costs images: without a terminal to ask whether to go on, agree with --yes"))
	}
	if err := confirm.Ask(what, r.yes, cmd.InOrStdin(), cmd.ErrOrStderr(), errDisagreed); err != nil {
		return nil, err
	}
	return j, replays.Create(ctx, j)
}

var errDisagreed = errors.New("nothing was replayed, as you wished")
