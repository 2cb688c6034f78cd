// Package baseline measures cvfeeder against baseline.py, a Python program that does the
// same work: both read the same past range from the same fake service, and publish the
// tensors to the same NATS server.
//
// The measure is frames per second of CPU time, user and system, over the whole life of
// the process. It does not depend on the number of processors, and hardly on what else
// the machine does. "make bench" installs the Python packages that are needed.
package baseline

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const (
	cameras  = 4
	interval = 200 * time.Millisecond
)

const config = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: ""}
streams:%s
outputs:
  detector: {preset: yolo, decode: %s}
`

const stream = `
  - {name: %s, interval: %v, from: %q, to: %q, outputs: [detector]}`

// natsConfig makes the server wait for a reader that falls behind on a busy machine, so
// that every message arrives. The server that publish/nats/embedded starts would drop
// messages for it. It asks its clients for a sign of life only once.
const natsConfig = `
listen: "127.0.0.1:-1"
max_payload: 8MB
max_pending: 1GB
write_deadline: "60s"
ping_interval: "1h"
`

// A rig is what both programs run with.
type rig struct {
	dir, cvfeeder, python string
	fake, nats            string // URLs
	from, to              time.Time
	frames                int // in that range
	received              *received
}

// extent returns how long a range is read, and how many times. With -short it shows no more
// than that the benchmark runs.
func extent() (length time.Duration, rounds int) {
	if testing.Short() {
		return 8 * time.Second, 1
	}
	return 80 * time.Second, 3
}

// BenchmarkPipeline runs both programs alternately, and reports the medians of their
// ratios:
//
//	pipeline-vs-python        CPU time, both with exact decoding
//	pipeline-vs-python-fast   CPU time, cvfeeder with "decode: fast", Python as it is
//	pipeline-fast-vs-reduced  CPU time, both fast: in Python, OpenCV decodes at half size
//	pipeline-memory-vs-python resident memory, both with exact decoding
func BenchmarkPipeline(b *testing.B) {
	r := newRig(b)
	// The fake service draws the pictures when they are first asked for.
	r.run(b, "warm-up", r.feeder(b, "fast"))
	r.received.take()
	var exact, fast, reduced, memory []float64
	_, rounds := extent()
	for b.Loop() {
		for range rounds {
			ours, theirs := r.pair(b, "exact")
			exact = append(exact, theirs.cpu.Seconds()/ours.cpu.Seconds())
			memory = append(memory, float64(ours.memory)/float64(theirs.memory))
			scaled, variant := r.pair(b, "fast")
			fast = append(fast, theirs.cpu.Seconds()/scaled.cpu.Seconds())
			reduced = append(reduced, variant.cpu.Seconds()/scaled.cpu.Seconds())
		}
	}
	b.ReportMetric(median(exact), "pipeline-vs-python")
	b.ReportMetric(median(fast), "pipeline-vs-python-fast")
	b.ReportMetric(median(reduced), "pipeline-fast-vs-reduced")
	b.ReportMetric(median(memory), "pipeline-memory-vs-python")
}

// pair runs both programs and compares what they published. On a machine that is too
// busy the feeder may drop frames rather than be late. Then both run again.
func (r *rig) pair(b *testing.B, decode string) (ours, theirs usage) {
	b.Helper()
	for try := 1; ; try++ {
		ours = r.run(b, "cvfeeder "+decode, r.feeder(b, decode))
		tensors := r.received.take()
		theirs = r.run(b, "baseline "+decode, r.baseline(decode))
		err := tensors.same(r.received.take(), decode)
		if err == nil && (tensors.count != r.frames || len(tensors.slots) != r.frames) {
			err = fmt.Errorf("%d tensors of %d slots, want %d", tensors.count, len(tensors.slots), r.frames)
		}
		switch {
		case err == nil:
			return ours, theirs
		case try == 3:
			b.Fatal(err)
		}
		b.Logf("%v; again", err)
	}
}

// run runs a program to its end, and waits for all that it published.
func (r *rig) run(b *testing.B, name string, command []string) usage {
	b.Helper()
	u, err := measure(b.Context(), command)
	if err != nil {
		b.Fatalf("%s: %v", name, err)
	}
	if err := r.received.settle(b.Context(), r.frames); err != nil {
		b.Logf("%s: %v\n%s", name, err, u.said)
	}
	frames := float64(r.frames)
	b.Logf("%-15s %5.1f frames per CPU second: %5.2f ms a frame, %2.0f%% of it system; %3d MiB, %4.1f s", name,
		frames/u.cpu.Seconds(), u.cpu.Seconds()*1e3/frames, 100*u.system.Seconds()/u.cpu.Seconds(), u.memory>>20, u.wall.Seconds())
	return u
}

func (r *rig) feeder(b *testing.B, decode string) []string {
	b.Helper()
	return r.feederOf(b, "cvfeeder.yaml", config, decode)
}

// feederOf returns the command of a feeder whose config has a format for where the fake service
// and NATS are, the streams, and what follows.
func (r *rig) feederOf(b *testing.B, file, format string, more ...any) []string {
	b.Helper()
	var streams strings.Builder
	for _, name := range names() {
		fmt.Fprintf(&streams, stream, name, interval, r.from.Format(time.RFC3339), r.to.Format(time.RFC3339))
	}
	file = filepath.Join(r.dir, file)
	text := fmt.Appendf(nil, format, append([]any{r.fake, r.nats, streams.String()}, more...)...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		b.Fatal(err)
	}
	return []string{r.cvfeeder, "run", "-c", file}
}

func (r *rig) baseline(decode string) []string {
	return append([]string{
		r.python, "baseline.py", "--endpoint", r.fake, "--nats", r.nats, "--decode", decode,
		"--from", r.from.Format(time.RFC3339), "--to", r.to.Format(time.RFC3339),
	}, names()...)
}

func names() []string {
	var names []string
	for i := range cameras {
		names = append(names, "cam-"+strconv.Itoa(i+1))
	}
	return names
}

func newRig(b *testing.B) *rig {
	b.Helper()
	python := os.Getenv("CVFEEDER_BENCH_PYTHON")
	if python == "" {
		b.Skip("CVFEEDER_BENCH_PYTHON does not name a Python with what requirements.txt has: `make bench` makes one")
	}
	to := time.Now().UTC().Truncate(time.Minute).Add(-time.Minute)
	length, _ := extent()
	r := &rig{dir: b.TempDir(), python: python, from: to.Add(-length), to: to, frames: cameras * int(length/interval)}
	r.cvfeeder = build(b, filepath.Join(r.dir, "cvfeeder"), "github.com/cvfeeder/cvfeeder/cmd/cvfeeder")
	r.fake = startFake(b)
	r.nats = startNATS(b, r.dir)
	sub, err := consume.Subscribe(dial.Options{URL: r.nats, Logger: slog.Default()}, "cvf.t.>")
	if err != nil {
		b.Fatal(err)
	}
	r.received = collect(sub)
	b.Cleanup(sub.Close)
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	if err := sub.WaitConnected(ctx); err != nil {
		b.Fatal(err)
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": kinesistest.AccessKey, "AWS_SECRET_ACCESS_KEY": kinesistest.SecretKey,
		"AWS_DEFAULT_REGION": kinesistest.Region, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		b.Setenv(name, value)
	}
	return r
}

func median[T cmp.Ordered](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}
