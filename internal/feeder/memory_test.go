package feeder_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/memory"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
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
	if sub := subscribeInMemory(t, url, dir); sub != nil {
		defer sub.Close()
		readOn(ctx, t, sub, time.Time{})
	}
}

// subscribeInMemory returns nil after an error.
func subscribeInMemory(t *testing.T, url, dir string) *consume.Subscription {
	t.Helper()
	sub, err := consume.Open(dial.Options{URL: url}, consume.Options{Memory: dir, Borrow: true}, "cvf.t.>")
	if err != nil {
		t.Error(err)
	}
	return sub
}

// readOn reads until ten tensors of each output have come in memory that are newer than after.
func readOn(ctx context.Context, t *testing.T, sub *consume.Subscription, after time.Time) {
	t.Helper()
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
		if d.InMemory && d.Time.After(after) {
			came[d.Output]++
		}
		d.Release()
		if came["detector"] >= 10 && came["plain"] >= 10 {
			return
		}
	}
	t.Errorf("tensors that came in memory: %v, %d lost", came, sub.Lost())
}

// TestMemoryIsRemoved: when somebody removes the directory under a running feeder, that is named
// everywhere, it is made anew, and tensors come in memory again. Nothing is warned of at the end.
func TestMemoryIsRemoved(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "memory")
	nats := feedertest.ServeNATS(t)
	_, fake := feedertest.ServeFake(t, kinesistest.Options{Streams: kinesistest.Cameras(1)})
	o, log := options(t, memoryConfig, fake, nats, "live", dir)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Started = func(ctx context.Context, run feeder.Running) {
		defer cancel()
		sub := subscribeInMemory(t, nats, dir)
		if sub == nil {
			return
		}
		defer sub.Close()
		readOn(ctx, t, sub, time.Time{})
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
		seen := map[string]bool{}
		natstest.Within(t, func() error {
			ready, page, status := feedertest.Get(t, run.HTTP+"/readyz"), feedertest.Get(t, run.HTTP+"/metrics"), feedertest.Get(t, run.HTTP+"/api/streams")
			for what, is := range map[string]bool{
				"/readyz":        strings.Contains(ready, "the memory of tensors was changed: "+dir+" is gone"),
				"cvfeeder_ready": strings.Contains(page, "\ncvfeeder_not_ready{reason=\"memory_lost\"} 1\n"),
				"remade":         strings.Contains(page, "\ncvfeeder_memory_remade_total 1\n"),
				"the page":       strings.Contains(status, "the memory of tensors was changed"),
				"the log":        strings.Contains(log.String(), "reason=memory_lost") && strings.Contains(log.String(), "was made anew"),
			} {
				seen[what] = seen[what] || is
			}
			for what, is := range seen {
				if !is {
					return fmt.Errorf("%s does not say that the memory is lost", what)
				}
			}
			return nil
		})
		readOn(ctx, t, sub, time.Now())
	}
	if err := feeder.New(o).Run(ctx); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if strings.Contains(log.String(), "is not removed") {
		t.Errorf("the log warns of files that are not there:\n%s", log.String())
	}
	if files, err := filepath.Glob(filepath.Join(dir, "*.mem")); err != nil || len(files) > 0 {
		t.Errorf("%v are left (%v)", files, err)
	}
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
