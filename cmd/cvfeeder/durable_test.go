package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const durableConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: ""}
delivery: {mode: durable, stream: {retention: %s}, gaps: %s}
streams:
  - {name: cam-1, interval: 200ms, from: %q, to: %q, outputs: [small]}
  - {name: cam-2, interval: 400ms, from: %q, to: %q, outputs: [small, other]}
outputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
  other: {preset: yolo, size: 16x16, dtype: uint8}
`

// natsServer is the program "nats-server" of these tests: an address and a
// directory.
func natsServer() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if _, err := embedded.Start(embedded.Options{Listen: os.Args[1], StoreDir: os.Args[2]}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-stop
}

// A process is a program that is started again whenever it was killed.
type process struct {
	t    *testing.T
	args []string
	env  []string // besides that of the test

	mu   sync.Mutex // guards cmd
	cmd  *exec.Cmd
	out  *natstest.Log
	done chan struct{} // closed when it has ended
	err  error
}

func (p *process) start() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out, p.done = new(natstest.Log), make(chan struct{})
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+kinesistest.AccessKey, "AWS_SECRET_ACCESS_KEY="+kinesistest.SecretKey)
	p.cmd.Env = append(p.cmd.Env, p.env...)
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func(cmd *exec.Cmd, done chan struct{}) {
		p.err = cmd.Wait()
		close(done)
	}(p.cmd, p.done)
}

// signal sends a signal to the process, which may have ended.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.cmd.Process.Signal(s)
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// TestDurable publishes a fixed range into a durable stream while feeders and the
// server are killed with SIGKILL at random moments, and at last lets them finish.
// The stream then holds each slot exactly once, in order: with one feeder, and with
// two of them for the same cameras.
func TestDurable(t *testing.T) {
	feedertest.Long(t, "kills processes for half a minute")
	for _, tt := range []struct {
		name            string
		feeders         int
		retention, gaps string
		faults          kinesistest.Faults
	}{
		{"one feeder", 1, "workqueue", "events", kinesistest.Faults{}},
		{"two feeders", 2, "limits", "events", kinesistest.Faults{}},
		{"two feeders, with gaps", 2, "workqueue", "inline", kinesistest.Faults{Outages: 0.1, MediaErrors: 0.05}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			length := time.Duration(*kills+5) * time.Minute
			to := time.Now().Add(-time.Minute).Truncate(time.Second)
			from := to.Add(-length)
			_, fakeURL := feedertest.ServeFake(t, kinesistest.Options{Scene: feedertest.Grey{}, Streams: kinesistest.Cameras(2), Faults: tt.faults})

			dir, addr := t.TempDir(), lastingAddress(t)
			file := filepath.Join(dir, "cvfeeder.yaml")
			f, e := from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339)
			text := fmt.Sprintf(durableConfig, fakeURL, "nats://"+addr, tt.retention, tt.gaps, f, e, f, e)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			server := &process{t: t, args: []string{"nats-server", addr, filepath.Join(dir, "nats")}}
			all := []*process{server}
			for range tt.feeders {
				all = append(all, &process{t: t, args: []string{"cvfeeder", "run", "-c", file}})
			}
			for _, p := range all {
				p.start()
				defer p.kill()
			}
			killAtRandom(t, all)
			for _, p := range all[1:] {
				<-p.done
				if p.err != nil || !strings.Contains(p.out.String(), "each with its outcome") {
					t.Errorf("a feeder ended with %v\n%s", p.err, p.out)
				}
			}
			got := feedertest.Stored(t, "nats://"+addr)
			for _, want := range []struct {
				subject  string
				interval time.Duration
			}{
				{"cvf.t.cam-1.small", 200 * time.Millisecond},
				{"cvf.t.cam-2.small", 400 * time.Millisecond},
				{"cvf.t.cam-2.other", 400 * time.Millisecond},
			} {
				feedertest.CheckOnce(t, want.subject, got[want.subject], from, to, want.interval, tt.gaps == "inline" || tt.faults == kinesistest.Faults{})
			}
		})
	}
}

// killAtRandom kills one of the processes, and starts it again, as often as the
// flag says.
func killAtRandom(t *testing.T, all []*process) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	killed, finished := 0, 0
	for range *kills {
		p := all[rng.IntN(len(all))]
		select {
		case <-time.After(200*time.Millisecond + time.Duration(rng.Int64N(int64(1500*time.Millisecond)))):
		case <-t.Context().Done():
			return
		}
		select {
		case <-p.done: // a feeder that is done stays done
			finished++
			continue
		default:
		}
		p.kill()
		p.start()
		killed++
	}
	t.Logf("%d killed, %d found finished", killed, finished)
}
