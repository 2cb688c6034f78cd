package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
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

// A stopping is a feeder as a process, whose ways to Kinesis and NATS can become black
// holes.
type stopping struct {
	*process
	*feedertest.Ways
	file, direct string // config files: through the holes, and past them
}

func newStopping(t *testing.T, mode config.Mode) *stopping {
	t.Helper()
	s := &stopping{Ways: feedertest.NewWays(t)}
	write := func(name, kinesis, nats string) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, fmt.Appendf(nil, shutdownConfig, kinesis, nats, mode), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	s.file, s.direct = write("holes.yaml", s.Fake.URL, s.NATS.URL), write("direct.yaml", s.FakeURL, s.NATSURL)
	return s
}

// run starts the feeder and waits until tensors come.
func (s *stopping) run(t *testing.T, file string) {
	t.Helper()
	sub := feedertest.Subscribe(t, s.NATSURL, "cvf.t.cam-1.small")
	defer sub.Close()
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

// TestShutdown ends the feeder with SIGTERM. What becomes of it in all modes, and whatever
// is away, is tested in internal/feeder.
func TestShutdown(t *testing.T) {
	feedertest.Long(t, "takes half a minute")
	t.Run("live without nothing", func(t *testing.T) {
		t.Parallel()
		s := newStopping(t, config.ModeLive)
		s.run(t, s.file)
		if took := s.terminate(t); s.err != nil || took > 10*time.Second {
			t.Errorf("it took %v, and ended with %v\n%s", took, s.err, s.out)
		}
	})
	t.Run("durable without NATS", func(t *testing.T) {
		t.Parallel()
		s := newStopping(t, config.ModeDurable)
		s.run(t, s.file)
		s.NATS.Swallow(t)
		<-time.After(time.Second) // something is on its way into the hole
		if took := s.terminate(t); took > mostToEnd {
			t.Errorf("it took %v\n%s", took, s.out)
		}
		s.run(t, s.direct)
		s.terminate(t)
		s.CheckStored(t)
	})
}

// TestShutdownBeforeTheStart ends the feeder while it still waits for NATS.
func TestShutdownBeforeTheStart(t *testing.T) {
	feedertest.Long(t, "waits for the deadlines of the end")
	t.Parallel()
	for _, mode := range []config.Mode{config.ModeLive, config.ModeDurable} {
		s := newStopping(t, mode)
		address, connected := silence(t)
		text := fmt.Appendf(nil, shutdownConfig, s.FakeURL, "nats://"+address, mode)
		if err := os.WriteFile(s.file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		s.process = &process{t: t, args: []string{"cvfeeder", "run", "-c", s.file}}
		s.start()
		t.Cleanup(s.kill)
		select {
		case <-connected:
		case <-s.done:
			t.Fatalf("%s: it has ended with %v\n%s", mode, s.err, s.out)
		}
		if took := s.terminate(t); took > mostToEnd || s.err != nil {
			t.Errorf("%s: it took %v, and ended with %v\n%s", mode, took, s.err, s.out)
		}
	}
}

// silence is a server that takes connections and never says a word. The channel is closed
// at the first connection.
func silence(t *testing.T) (address string, connected <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		var connections []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			if connections = append(connections, c); len(connections) == 1 {
				close(first)
			}
		}
		for _, c := range connections {
			_ = c.Close()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		done.Wait()
	})
	return l.Addr().String(), first
}

// TestSecondSignal: who cannot wait for the end sends the signal again.
func TestSecondSignal(t *testing.T) {
	feedertest.Long(t, "waits for a black hole to be noticed")
	t.Parallel()
	s := newStopping(t, config.ModeDurable)
	s.run(t, s.file)
	s.NATS.Swallow(t)
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
		if code.Load() != feeder.ExitFailed || !strings.Contains(out.String(), "will be repeated") {
			t.Errorf("exit code %d, %q", code.Load(), out.String())
		}
	})
}
