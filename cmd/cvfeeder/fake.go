package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/usage"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest/scene"
)

// defaultFake is the default address of the fake service.
const defaultFake = "127.0.0.1:9178"

// fakeFlags are the flags of the fake command.
type fakeFlags struct {
	listen, video, size   string
	streams               int
	fragment, fragmentMax time.Duration
	delay, retention      time.Duration
	faults, requests      string
	seed                  uint64
}

func newFakeCommand() *cobra.Command {
	var f fakeFlags
	cmd := &cobra.Command{
		Use:   "fake",
		Short: "Serve a fake Kinesis Video service",
		Long: `Fake imitates the Kinesis Video service on its real wire protocol, for trying
cvfeeder and other clients without an AWS account. It checks signatures. Its cameras
are named cam-1, cam-2 and so on, and show a drawn street with the time in it, or a
video file in a loop.

With --faults it misbehaves as the real service and the network may. The list names
the faults, each with a value or, without one, at its usual value. "all" means every
fault but deny-list-fragments and frame-every, at its usual value. The same seed makes
the same random choices. Shares are numbers from 0 to 1.

` + kinesistest.FaultsHelp(),
		Example: `  cvfeeder fake --streams 2
  cvfeeder fake --video street.mp4 --size 1280x720
  cvfeeder fake --faults throttle,late=0.1,rotate=1m
  cvfeeder fake --faults all,resets=0 --seed 7`,
		Args: usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runFake(cmd.Context(), f, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", defaultFake, "`address` to serve on")
	flags.StringVar(&f.video, "video", "", "video `file` that the cameras show in a loop; needs ffmpeg (default: a drawn street)")
	flags.IntVar(&f.streams, "streams", 4, "`number` of streams, named cam-1, cam-2, ...")
	flags.StringVar(&f.size, "size", "", "size of the pictures in pixels, as `WxH` (default: 1280x720, or the video's size, shrunk to fit into 1920x1080)")
	flags.DurationVar(&f.fragment, "fragment", 2*time.Second, "length of the media's fragments")
	flags.DurationVar(&f.fragmentMax, "fragment-max", 0, "longest length of fragments, if their lengths are to vary; --fragment is then the shortest")
	flags.DurationVar(&f.delay, "delay", 500*time.Millisecond, "time from the end of a fragment until it is visible")
	flags.DurationVar(&f.retention, "retention", 24*time.Hour, "how long media is kept")
	flags.StringVar(&f.faults, "faults", "", "comma-separated `list` of faults, see above")
	flags.StringVar(&f.requests, "requests", "", "append a line of JSON for each request to this `file`")
	flags.Uint64Var(&f.seed, "seed", 0, "`number` that seeds the random faults")
	usage.Complete(cmd, "faults", usage.Names(kinesistest.FaultNames()...))
	return cmd
}

// runFake serves until ctx ends.
func runFake(ctx context.Context, f fakeFlags, out io.Writer) (err error) {
	opts, size, err := f.check()
	if err != nil {
		return feeder.Usage(err)
	}
	if opts.Scene, err = newScene(ctx, f.video, size); err != nil {
		return feeder.Usage(err)
	}
	if f.requests != "" {
		requests, err := kinesistest.NewRequestFile(f.requests)
		if err != nil {
			return feeder.Usage(fmt.Errorf("--requests: %w", err))
		}
		defer func() { err = errors.Join(err, requests.Close()) }()
		opts.Observe = requests.Add
	}
	srv, err := kinesistest.New(opts)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("--listen %s: the address is in use; choose another, such as 127.0.0.1:0 for any free port", f.listen)
	}
	if err != nil {
		return fmt.Errorf("--listen %s: %w", f.listen, err)
	}
	printFake(out, "http://"+l.Addr().String(), f, opts.Faults)
	return srv.Serve(ctx, l)
}

// maxFakeStreams limits what a typing error can start.
const maxFakeStreams = 100_000

// check turns the flags into the service's options, except for the scene.
func (f fakeFlags) check() (opts kinesistest.Options, size image.Point, err error) {
	switch {
	case f.streams < 1 || f.streams > maxFakeStreams:
		return opts, size, fmt.Errorf("--streams %d: it must be from 1 to %d", f.streams, maxFakeStreams)
	case f.fragment < source.MinInterval || f.fragment > time.Minute || f.fragment%time.Millisecond != 0:
		return opts, size, fmt.Errorf("--fragment %v: it must be whole milliseconds from %v to %v",
			f.fragment, source.MinInterval, time.Minute)
	case f.fragmentMax != 0 && (f.fragmentMax < f.fragment || f.fragmentMax > time.Minute || f.fragmentMax%time.Millisecond != 0):
		return opts, size, fmt.Errorf("--fragment-max %v: it must be whole milliseconds from --fragment, %v, to %v",
			f.fragmentMax, f.fragment, time.Minute)
	case f.retention < time.Second:
		return opts, size, fmt.Errorf("--retention %v: it must be at least 1s", f.retention)
	case f.delay < 0:
		return opts, size, fmt.Errorf("--delay %v: it must not be negative", f.delay)
	}
	if _, _, err := net.SplitHostPort(f.listen); err != nil {
		return opts, size, fmt.Errorf("--listen: %w: give an address such as %s", err, defaultFake)
	}
	if opts.Faults, err = kinesistest.ParseFaults(f.faults); err != nil {
		return opts, size, fmt.Errorf("--faults: %w", err)
	}
	opts.Streams, opts.Fragment, opts.FragmentMax, opts.Delay = f.cameras(), f.fragment, f.fragmentMax, f.delay
	opts.Seed = f.seed
	if f.delay == 0 {
		opts.Delay = -1 // none: 0 would mean the default
	}
	size, err = parsePixels(f.size)
	return opts, size, err
}

func (f fakeFlags) cameras() []kinesistest.Stream {
	streams := kinesistest.Cameras(f.streams)
	for i := range streams {
		streams[i].Retention = f.retention
	}
	return streams
}

// parsePixels reads a size such as 1280x720. The empty string is the zero size.
func parsePixels(size string) (image.Point, error) {
	if size == "" {
		return image.Point{}, nil
	}
	width, height, _ := strings.Cut(size, "x")
	x, errX := strconv.ParseUint(width, 10, 16)
	y, errY := strconv.ParseUint(height, 10, 16)
	if errX != nil || errY != nil || x == 0 || y == 0 {
		return image.Point{}, fmt.Errorf("--size %q: it must be a width and a height, such as 1280x720", size)
	}
	return image.Pt(int(x), int(y)), nil
}

// printFake prints how to use the service.
func printFake(out io.Writer, url string, f fakeFlags, faults kinesistest.Faults) {
	names := "cam-1"
	if f.streams > 1 {
		names = fmt.Sprintf("cam-1 to cam-%d", f.streams)
	}
	wrong := ""
	if list := faults.String(); list != "" {
		wrong = fmt.Sprintf("  faults   %s\n  seed     %d\n", list, f.seed)
	}
	fmt.Fprintf(out, `Fake Kinesis Video service on %s
  region   %s
  keys     export AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s
  clients  export AWS_ENDPOINT_URL=%[1]s AWS_REGION=%[2]s AWS_DEFAULT_REGION=%[2]s
  streams  %[5]s
%[6]s
A config for cvfeeder run:

  aws:
    region: %[2]s
    endpoint: %[1]s
  streams:
    - name: cam-1
      interval: 200ms
      outputs: [detector]
  outputs:
    detector:
      preset: yolo

Stop it with Ctrl-C.
`, url, kinesistest.Region, kinesistest.AccessKey, kinesistest.SecretKey, names, wrong)
}

// newScene returns what the fake cameras show: the video file, or a drawn street if
// video is "". The zero size means the video's own, or 1280x720.
func newScene(ctx context.Context, video string, size image.Point) (scene.Scene, error) {
	if video != "" {
		return scene.NewVideo(ctx, video, size)
	}
	if size == (image.Point{}) {
		size = image.Pt(1280, 720)
	}
	return scene.NewDrawn(size)
}
