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
	"github.com/cvfeeder/cvfeeder/internal/usage"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/memory"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// demoConfig is the demo's config. The arguments are the region, the endpoint, the HTTP
// address and the streams.
const demoConfig = `
aws: {region: %q, endpoint: %q}
nats: {url: embedded}
http: {listen: %q}
delivery: {%[6]s}
log: {level: warn}
streams:%[4]s
outputs:
  detector: {preset: yolo, gate: %[5]s}
  classifier: {preset: imagenet, gate: %[5]s}
`

const maxDemoStreams = 1000

type demoOptions struct {
	video   string
	streams int
	length  time.Duration
	http    string
	nats    string
	faults  string
	poll    string
	gate    string
	seed    uint64
}

func newDemoCommand() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run everything in one process, without an account",
		Long: "Demo runs a fake Kinesis Video service, a NATS server, the sidecar, and a reader of\n" +
			"the small tensors in one process, on loopback addresses. It prints a line every\n" +
			"second, and a summary at the end.\n\n" +
			"To see what it publishes, run this in another terminal:\n\n" +
			"    cvfeeder tap --save /tmp/tensors --count 20",
		Example: "  cvfeeder demo\n" +
			"  cvfeeder demo --streams 8 --for 1m --faults outages=0.1,throttle\n" +
			"  cvfeeder demo --video street.mp4",
		Args: usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.video, "video", "", "video `FILE` that the cameras show in a loop; needs ffmpeg (default: a drawn street)")
	flags.IntVar(&o.streams, "streams", 4, "`number` of cameras")
	flags.DurationVar(&o.length, "for", 0, "stop after this time; 0 runs until Ctrl-C")
	flags.StringVar(&o.http, "http", config.DefaultListen, "`ADDR` for metrics, health and the status page; \"\" turns them off")
	flags.StringVar(&o.nats, "nats", dial.DefaultAddress, "`ADDR` that the NATS server listens on")
	flags.StringVar(&o.faults, "faults", "", "comma-separated `LIST` of faults of the service, such as outages=0.1,throttle or all; see \"cvfeeder fake --help\"")
	flags.Uint64Var(&o.seed, "seed", 0, "`number` that seeds the random faults")
	flags.StringVar(&o.poll, "poll", string(config.PollAlways), "`WHEN` images are asked for: always, subscribed or request; the demo reads all cameras with always, and the first one otherwise")
	flags.StringVar(&o.gate, "gate", "0%", "`SHARE` of the picture that has to change for a tensor, such as 2%; 0% publishes all frames")
	usage.Complete(cmd, "poll", usage.Names(string(config.PollAlways), string(config.PollSubscribed), string(config.PollRequest)))
	usage.Complete(cmd, "faults", usage.Names(kinesistest.FaultNames()...))
	return cmd
}

func (o demoOptions) check() error {
	switch {
	case o.streams < 1 || o.streams > maxDemoStreams:
		return fmt.Errorf("--streams %d: it must be from 1 to %d", o.streams, maxDemoStreams)
	case o.length < 0:
		return fmt.Errorf("--for %v: it must not be negative", o.length)
	}
	for flag, addr := range map[string]string{"http": o.http, "nats": o.nats} {
		if flag == "http" && addr == "" {
			continue // turned off
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("--%s: %w: give an address such as 127.0.0.1:0", flag, err)
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

	shared, why := demoMemory()
	cfg, err := o.config(endpoint.URL, fake.Streams(), shared)
	if err != nil {
		return feeder.Usage(err)
	}
	log, endLog := beginLog(errOut, cfg.Log)
	defer endLog()
	p := newProgress(out)
	var model *consume.Subscription
	f := feeder.New(feeder.Options{
		Config: cfg, Log: log,
		AccessKey: kinesistest.AccessKey, Secret: kinesistest.SecretKey,
		Listen: o.nats, Length: o.length,
		Started: func(ctx context.Context, run feeder.Running) {
			p.begin(endpoint.URL, run, why)
			var err error
			if model, err = classify(ctx, run.NATS, o.reads()); err != nil {
				log.Warn("the demo cannot subscribe to its own tensors, so slots end as unwatched", "err", err)
			}
			p.show(ctx, run)
		},
	})
	err = f.Run(ctx)
	if model != nil {
		model.Close()
	}
	if err != nil {
		return err
	}
	return p.summary()
}

// classify reads the tensors of the classifier, as a model would, until the subscription is
// closed. Those of the detector are eight times as large: a busy machine could not read them
// as fast as they come, and the server would close the connection.
func classify(ctx context.Context, url, subject string) (*consume.Subscription, error) {
	sub, err := consume.Subscribe(dial.Options{URL: url}, subject)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			if _, err := sub.Next(ctx); err != nil {
				return
			}
		}
	}()
	if err := sub.WaitConnected(ctx); err != nil {
		sub.Close()
		return nil, err
	}
	return sub, nil
}

// demoMemory returns the keys of the memory in which the demo hands tensors over, none if it
// cannot, and which of both it is in words.
func demoMemory() (keys, words string) {
	const bytes, tensor = 256 << 20, 3 * 640 * 640 * 4
	_, err := memory.Check(memory.Options{Dir: memory.DefaultDir, Bytes: bytes, SlotBytes: tensor})
	if err != nil {
		return "", "not used: " + err.Error()
	}
	return fmt.Sprintf("memory: %q, memory_bytes: %dB", memory.DefaultDir, bytes), memory.DefaultDir + "  in which consumers of this host read tensors in place"
}

// reads returns the subject that the demo reads.
func (o demoOptions) reads() string {
	if o.poll == string(config.PollAlways) {
		return "cvf.t.*.classifier"
	}
	return "cvf.t.cam-1.classifier"
}

// config returns the demo's config, which is one that a user could write.
func (o demoOptions) config(endpoint string, names []string, shared string) (*config.Config, error) {
	streams := ""
	for _, name := range names {
		streams += fmt.Sprintf("\n  - {name: %s, interval: 200ms, poll: %s, outputs: [detector, classifier]}", name, o.poll)
	}
	text := fmt.Sprintf(demoConfig, kinesistest.Region, endpoint, o.http, streams, "{change: "+o.gate+", every: 10s, relax: 2s}", shared)
	return config.Parse("demo", []byte(text), noVariables)
}

// noVariables is an empty environment: demoConfig refers to no variables.
func noVariables(string) (string, bool) { return "", false }
