package main

import (
	"bufio"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

var soakTime = flag.Duration("soak", 0, "how long TestSoak runs the feeder at 80% of what it can decode; 0 does not")

const soakConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: %q}
streams:
%soutputs:
  detector: {preset: yolo, dtype: uint8}
`

// flat are the metrics that a soak must leave as they were.
var flat = [...]string{"process_resident_memory_bytes", "go_goroutines", "process_open_fds", "cvfeeder_mats_open"}

// TestSoak runs a feeder of 1080p pictures at 80% of its workers' time, and compares what
// it holds in the first third of the time with the last.
func TestSoak(t *testing.T) {
	if *soakTime == 0 {
		t.Skip("runs with -soak 1h: make soak-hour")
	}
	server, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	received := drainTensors(t, server.ClientURL())
	address := natstest.FreeAddress(t)
	fake := &process{t: t, args: []string{"cvfeeder", "fake", "--listen", address, "--streams", "200", "--size", "1920x1080"}}
	fake.start()
	defer fake.kill()

	warm := min(30*time.Second, *soakTime/2)
	const trial = 2
	feeder, url := startSoak(t, "http://"+address, server.ClientURL(), trial)
	<-time.After(warm)
	busy := scrape(t, url)["cvfeeder_workers_busy_ratio"]
	feeder.kill()
	if busy == 0 {
		t.Fatalf("the workers have nothing to do\n%s", feeder.out)
	}
	streams := max(1, int(math.Floor(0.8*trial/busy)))
	t.Logf("%d streams keep the workers busy for %.2f of the time: soaking with %d", trial, busy, streams)
	feeder, url = startSoak(t, "http://"+address, server.ClientURL(), streams)
	defer feeder.kill()
	<-time.After(warm)
	var samples []map[string]float64
	every := max(*soakTime/360, time.Second)
	for begin := time.Now(); time.Since(begin) < *soakTime; <-time.After(every) {
		now := scrape(t, url)
		if samples = append(samples, now); len(samples)%30 == 1 {
			t.Logf("%8v  resident %.0f MiB, goroutines %.0f, descriptors %.0f, Mats %.0f, busy %.2f, %d tensors", time.Since(begin).Round(time.Second),
				now[flat[0]]/(1<<20), now[flat[1]], now[flat[2]], now[flat[3]], now["cvfeeder_workers_busy_ratio"], received())
		}
	}
	third := len(samples) / 3
	for _, name := range flat {
		first, last := median(samples[:third], name), median(samples[len(samples)-third:], name)
		t.Logf("%s: median of the first third %.0f, of the last %.0f", name, first, last)
		// Some of what is open comes and goes with the requests that are under way.
		if last > first*1.1+10 {
			t.Errorf("%s grows from %.0f to %.0f", name, first, last)
		}
	}
}

// startSoak starts a feeder of so many streams, and returns the URL of its metrics.
func startSoak(t *testing.T, fake, nats string, streams int) (*process, string) {
	t.Helper()
	var list strings.Builder
	for i := range streams {
		fmt.Fprintf(&list, "  - {name: cam-%d, outputs: [detector]}\n", i+1)
	}
	listen := natstest.FreeAddress(t)
	file := filepath.Join(t.TempDir(), "cvfeeder.yaml")
	if err := os.WriteFile(file, []byte(fmt.Sprintf(soakConfig, fake, nats, listen, list.String())), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, args: []string{"cvfeeder", "run", "-c", file}}
	p.start()
	return p, "http://" + listen + "/metrics"
}

// scrape returns the metrics without labels.
func scrape(t *testing.T, url string) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for lines := bufio.NewScanner(strings.NewReader(feedertest.Get(t, url))); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			values[name] = v
		}
	}
	return values
}

func median(samples []map[string]float64, name string) float64 {
	var values []float64
	for _, s := range samples {
		values = append(values, s[name])
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// drainTensors subscribes, as tensors are not made for nobody, and counts.
func drainTensors(t *testing.T, url string) (received func() int64) {
	t.Helper()
	sub, err := consume.Subscribe(dial.Options{URL: url}, "cvf.t.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	done := make(chan struct{})
	t.Cleanup(func() { sub.Close(); <-done })
	go func() {
		defer close(done)
		for {
			if _, err := sub.Next(t.Context()); err != nil {
				return
			}
			n.Add(1)
		}
	}()
	return n.Load
}
