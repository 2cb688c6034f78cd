package feeder_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/memory"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const memoryConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: "127.0.0.1:0"}
delivery: {mode: %s, memory: %q, memory_bytes: 64MiB}
streams:
  - {name: cam-1, interval: 200ms, outputs: [detector, plain]}
outputs:
  detector: {preset: yolo, size: 320x320}
  plain: {preset: none, size: 480x270, fit: stretch, dtype: uint8, layout: nhwc, color: bgr}
`

// TestMemory reads tensors where the worker has made them: each shows its own slot, and comes
// once and in order, whichever way it comes. The memory goes with the feeder.
func TestMemory(t *testing.T) {
	for _, mode := range []string{"live", "ring"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "memory")
			nats := feedertest.ServeNATS(t)
			_, fake := feedertest.ServeFake(t, kinesistest.Options{Streams: kinesistest.Cameras(1)})
			o, log := options(t, memoryConfig, fake, nats, mode, dir)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var page string
			o.Started = func(ctx context.Context, run feeder.Running) {
				defer cancel()
				readInMemory(ctx, t, nats, dir)
				page = feedertest.Get(t, run.HTTP+"/metrics")
			}
			if err := feeder.New(o).Run(ctx); err != nil {
				t.Fatalf("%v\n%s", err, log.String())
			}
			if strings.Contains(page, "\ncvfeeder_memory_tensors_total 0\n") || !strings.Contains(page, "\ncvfeeder_memory_slots 54\n") {
				t.Errorf("/metrics does not say what there is in memory:\n%s", page)
			}
			if files, err := filepath.Glob(filepath.Join(dir, "*.mem")); err != nil || len(files) > 0 {
				t.Errorf("%v are left (%v)", files, err)
			}
		})
	}
}

// readInMemory reads until ten tensors of each output have come in memory.
func readInMemory(ctx context.Context, t *testing.T, url, dir string) {
	t.Helper()
	sub, err := consume.Open(dial.Options{URL: url}, consume.Options{Memory: dir, Borrow: true}, "cvf.t.>")
	if err != nil {
		t.Error(err)
		return
	}
	defer sub.Close()
	came, last := map[string]int{}, map[string]publish.Envelope{}
	for d, err := range sub.Tensors(ctx) {
		if err != nil || d.Gap != nil {
			t.Errorf("gap %+v, error %v", d.Gap, err)
			return
		}
		before, some := last[d.Output]
		if some && d.Time.Sub(before.Time).Milliseconds() != 200 {
			t.Errorf("%s: %v follows %v", d.Output, d.Time, before.Time)
		}
		last[d.Output] = d.Envelope
		checkPicture(t, d.Subject, d.Envelope, d.Data)
		if d.InMemory {
			came[d.Output]++
		}
		d.Release()
		if came["detector"] >= 10 && came["plain"] >= 10 {
			return
		}
	}
	t.Errorf("tensors that came in memory: %v, %d lost", came, sub.Lost())
}

// TestMemoryThatCannotBe is said in words, at the start.
func TestMemoryThatCannotBe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there")
	_, fake := feedertest.ServeFake(t, kinesistest.Options{Streams: kinesistest.Cameras(1)})
	o, _ := options(t, memoryConfig, fake, feedertest.ServeNATS(t), "live", dir)
	err := feeder.New(o).Run(t.Context())
	if err == nil || feeder.ExitCode(err) != 2 || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v", err)
	}
	if _, err := memory.NewReader(dir).Host(); err == nil {
		t.Error("there is memory")
	}
}
