package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const shutdownConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: ""}
delivery: {mode: %s, stream: {retention: limits}}
streams:
  - {name: cam-1, interval: 200ms, outputs: [small]}
  - {name: cam-2, interval: 400ms, outputs: [small]}
outputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
`

// mostToEnd is less than the 30 seconds that Kubernetes gives a container.
const mostToEnd = 25 * time.Second

// A hole is a way to a server that can become a black hole: connections stay, and
// nothing comes out.
type hole struct{ *toxiproxy.Proxy }

func newHole(t *testing.T, url string) (*hole, string) {
	t.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled)
	scheme, address, _ := strings.Cut(url, "://")
	proxy := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), scheme, "127.0.0.1:0", address)
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)
	return &hole{proxy}, scheme + "://" + proxy.Listen
}

func (h *hole) swallow(t *testing.T) {
	t.Helper()
	for _, direction := range []string{"upstream", "downstream"} {
		toxic := fmt.Sprintf(`{"name": %q, "type": "timeout", "stream": %[1]q, "attributes": {"timeout": 0}}`, direction)
		if _, err := h.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			t.Fatal(err)
		}
	}
}

// A stopping is a feeder whose ways can become black holes.
type stopping struct {
	*process
	nats, kinesis *hole
	natsURL       string
	file, direct  string // config files: by way of the holes, and past them
}

func newStopping(t *testing.T, mode config.Mode) *stopping {
	t.Helper()
	fake, err := kinesistest.New(kinesistest.Options{Scene: grey{}, Streams: kinesistest.Cameras(2), Fragment: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	endpoint := serveFake(t, fake)
	server := serveNATS(t)
	s := &stopping{natsURL: server.ClientURL()}
	var natsURL, kinesisURL string
	s.nats, natsURL = newHole(t, server.ClientURL())
	s.kinesis, kinesisURL = newHole(t, endpoint.URL)
	write := func(name, kinesis, nats string) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, fmt.Appendf(nil, shutdownConfig, kinesis, nats, mode), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	s.file, s.direct = write("holes.yaml", kinesisURL, natsURL), write("direct.yaml", endpoint.URL, server.ClientURL())
	return s
}

// run starts the feeder and waits until tensors come.
func (s *stopping) run(t *testing.T, file string) {
	t.Helper()
	sub, err := consume.Subscribe(dial.Options{URL: s.natsURL}, "cvf.t.cam-1.small")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if err := sub.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.process = &process{t: t, args: []string{"cvfeeder", "run", "-c", file}}
	s.start()
	t.Cleanup(s.kill)
	for range 10 {
		if _, err := sub.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// terminate sends SIGTERM, and returns how long the feeder took to end.
func (s *stopping) terminate(t *testing.T) time.Duration {
	t.Helper()
	begin := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.done:
	case <-time.After(mostToEnd + 20*time.Second):
		t.Errorf("it does not end:\n%s", s.out)
		s.kill()
	}
	return time.Since(begin)
}

// TestShutdown ends the feeder with SIGTERM while nothing comes from NATS, or from
// Kinesis, or both are well. In the mode durable the next one goes on without a gap
// or a repeat.
func TestShutdown(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	for _, mode := range []config.Mode{config.ModeLive, config.ModeRing, config.ModeDurable} {
		for _, away := range []string{"nothing", "NATS", "Kinesis"} {
			t.Run(string(mode)+" without "+away, func(t *testing.T) {
				t.Parallel()
				s := newStopping(t, mode)
				s.run(t, s.file)
				switch away {
				case "NATS":
					s.nats.swallow(t)
				case "Kinesis":
					s.kinesis.swallow(t)
				}
				<-time.After(time.Second) // something is on its way into the hole
				took := s.terminate(t)
				t.Logf("it took %v", took)
				if took > mostToEnd {
					t.Errorf("it took %v\n%s", took, s.out)
				}
				if away == "nothing" && (s.err != nil || took > 10*time.Second) {
					t.Errorf("it took %v, and ended with %v\n%s", took, s.err, s.out)
				}
				if mode == config.ModeDurable {
					s.run(t, s.direct)
					s.terminate(t)
					s.checkStored(t)
				}
			})
		}
	}
}

// TestShutdownBeforeTheStart ends the feeder while it still waits for NATS.
func TestShutdownBeforeTheStart(t *testing.T) {
	t.Parallel()
	for _, mode := range []config.Mode{config.ModeLive, config.ModeDurable} {
		s := newStopping(t, mode)
		s.nats.swallow(t)
		s.process = &process{t: t, args: []string{"cvfeeder", "run", "-c", s.file}}
		s.start()
		<-time.After(time.Second)
		if took := s.terminate(t); took > mostToEnd || s.err != nil {
			t.Errorf("%s: it took %v, and ended with %v\n%s", mode, took, s.err, s.out)
		}
	}
}

// checkStored checks that the stream holds each slot once, in order.
func (s *stopping) checkStored(t *testing.T) {
	t.Helper()
	got := stored(t, s.natsURL)
	for subject, interval := range map[string]time.Duration{"cvf.t.cam-1.small": 200 * time.Millisecond, "cvf.t.cam-2.small": 400 * time.Millisecond} {
		spans := got[subject]
		if len(spans) == 0 {
			t.Errorf("%s: nothing is stored", subject)
			continue
		}
		checkOnce(t, subject, spans, spans[0].first, spans[len(spans)-1].last, interval, true)
	}
}

// TestSecondSignal: who cannot wait for the end sends the signal again.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	s := newStopping(t, config.ModeDurable)
	s.run(t, s.file)
	s.nats.swallow(t)
	<-time.After(time.Second)
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.done:
		t.Skip("it has ended at the first one")
	case <-time.After(500 * time.Millisecond):
	}
	if took := s.terminate(t); took > 3*time.Second {
		t.Errorf("after the second signal it took %v\n%s", took, s.out)
	}
}

func TestEndWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var out bytes.Buffer
		var code atomic.Int64
		endWithin(ctx, endTime, &out, func(c int) { code.Store(int64(c)) })
		time.Sleep(time.Hour)
		cancel()
		time.Sleep(endTime - time.Second)
		if code.Load() != 0 {
			t.Error("it ends too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if code.Load() != feeder.ExitFailed || !strings.Contains(out.String(), "left to be repeated") {
			t.Errorf("exit code %d, %q", code.Load(), out.String())
		}
	})
}
