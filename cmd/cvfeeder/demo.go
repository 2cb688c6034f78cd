package main

import (
	"context"
	"fmt"
	"image"
	"io"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// demoConfig is what the demo runs. The streams share their keys.
const demoConfig = `
aws: {region: %q, endpoint: %q}
nats: {url: embedded}
http: {listen: %q}
log: {level: warn}
streams:%s
outputs:
  detector: {preset: yolo}
  classifier: {preset: imagenet}
`

const maxDemoStreams = 1000

type demoOptions struct {
	video   string
	streams int
	length  time.Duration
	http    string
	nats    string
	faults  string
	seed    uint64
}

func newDemoCommand() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run everything in one process, without any account",
		Long: "Demo runs a fake Kinesis Video service, a NATS server and the sidecar in one\n" +
			"process, on loopback addresses. It prints a line a second, and a summary at the end.\n\n" +
			"Look at what it publishes, in another terminal:\n\n" +
			"    cvfeeder tap --save /tmp/tensors --count 20",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.video, "video", "", "video `FILE` that the cameras see, looped; needs ffmpeg. Default: a drawn street")
	flags.IntVar(&o.streams, "streams", 4, "number of cameras")
	flags.DurationVar(&o.length, "for", 0, "end after this time; 0 runs until Ctrl-C")
	flags.StringVar(&o.http, "http", config.DefaultListen, "`ADDR` of metrics and health; \"\" for none")
	flags.StringVar(&o.nats, "nats", dial.DefaultAddress, "`ADDR` on which the NATS server listens")
	flags.StringVar(&o.faults, "faults", "", "comma-separated `LIST` of what goes wrong at the service, such as outages=0.1,throttle or all; \"cvfeeder fake --help\" explains it")
	flags.Uint64Var(&o.seed, "seed", 0, "`number` that decides what of it is random")
	return cmd
}

func (o demoOptions) check() error {
	switch {
	case o.streams < 1 || o.streams > maxDemoStreams:
		return fmt.Errorf("--streams %d: from 1 to %d", o.streams, maxDemoStreams)
	case o.length < 0:
		return fmt.Errorf("--for %v: not below 0", o.length)
	}
	for flag, addr := range map[string]string{"http": o.http, "nats": o.nats} {
		if flag == "http" && addr == "" {
			continue // no metrics and health
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("--%s: %w: an address is like 127.0.0.1:0", flag, err)
		}
	}
	return nil
}

func demo(ctx context.Context, o demoOptions, out, errOut io.Writer) error {
	if err := o.check(); err != nil {
		return feeder.Usage(err)
	}
	faults, err := kinesistest.ParseFaults(o.faults)
	if err != nil {
		return feeder.Usage(fmt.Errorf("--faults: %w", err))
	}
	scene, err := newScene(ctx, o.video, image.Point{})
	if err != nil {
		return feeder.Usage(err)
	}
	fake, err := kinesistest.New(kinesistest.Options{
		Streams: kinesistest.Cameras(o.streams), Scene: scene, Faults: faults, Seed: o.seed,
	})
	if err != nil {
		return err
	}
	endpoint, err := fake.Start("127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() { _ = endpoint.Close() }()

	cfg, err := o.config(endpoint.URL, fake.Streams())
	if err != nil {
		return err
	}
	log, endLog := beginLog(errOut, cfg.Log)
	defer endLog()
	p := newProgress(out)
	f := feeder.New(feeder.Options{
		Config: cfg, Log: log,
		AccessKey: kinesistest.AccessKey, Secret: kinesistest.SecretKey,
		Listen: o.nats, Length: o.length,
		Started: func(ctx context.Context, r feeder.Running) {
			p.begin(endpoint.URL, r)
			p.show(ctx, r)
		},
	})
	if err := f.Run(ctx); err != nil {
		return err
	}
	return p.summary()
}

// config returns the demo's config: the same that a user would write.
func (o demoOptions) config(endpoint string, names []string) (*config.Config, error) {
	streams := ""
	for _, name := range names {
		streams += fmt.Sprintf("\n  - {name: %s, interval: 200ms, outputs: [detector, classifier]}", name)
	}
	text := fmt.Sprintf(demoConfig, kinesistest.Region, endpoint, o.http, streams)
	return config.Parse("demo", []byte(text), noVariables)
}

// noVariables is the environment for a config that is our own.
func noVariables(string) (string, bool) { return "", false }
