package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
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
	cmd  *exec.Cmd
	out  *bytes.Buffer
	done chan struct{} // closed when it has ended
	err  error
}

func (p *process) start() {
	p.t.Helper()
	p.out, p.done = new(bytes.Buffer), make(chan struct{})
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+kinesistest.AccessKey, "AWS_SECRET_ACCESS_KEY="+kinesistest.SecretKey)
	p.cmd.Env = append(p.cmd.Env, p.env...)
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) } // it may have ended

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// TestDurable publishes a fixed range into a durable stream while feeders and the
// server are killed with SIGKILL at random moments, and at last lets them finish.
// The stream then holds each slot exactly once, in order: with one feeder, and with
// two of them for the same cameras.
func TestDurable(t *testing.T) {
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
			length := time.Duration(*kills+5) * time.Minute
			to := time.Now().Add(-time.Minute).Truncate(time.Second)
			from := to.Add(-length)
			fake, err := kinesistest.New(kinesistest.Options{Scene: grey{}, Streams: kinesistest.Cameras(2), Faults: tt.faults})
			if err != nil {
				t.Fatal(err)
			}
			endpoint, err := fake.Start("127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = endpoint.Close() }()

			dir, addr := t.TempDir(), freeAddress(t.Fatal)
			file := filepath.Join(dir, "cvfeeder.yaml")
			f, e := from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339)
			text := fmt.Sprintf(durableConfig, endpoint.URL, "nats://"+addr, tt.retention, tt.gaps, f, e, f, e)
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
			got := stored(t, "nats://"+addr)
			for _, want := range []struct {
				subject  string
				interval time.Duration
			}{
				{"cvf.t.cam-1.small", 200 * time.Millisecond},
				{"cvf.t.cam-2.small", 400 * time.Millisecond},
				{"cvf.t.cam-2.other", 400 * time.Millisecond},
			} {
				checkOnce(t, want.subject, got[want.subject], from, to, want.interval, tt.gaps == "inline" || tt.faults == kinesistest.Faults{})
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

// A span is what a message stands for: one slot, or those of a gap.
type span struct {
	first, last time.Time
	gap         string
}

// stored returns what the stream holds, by subject.
func stored(t *testing.T, url string) map[string][]span {
	t.Helper()
	nc, err := nats.Connect(url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), dial.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]span{}
	for seq := stream.CachedInfo().State.FirstSeq; seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		at := func(name string) time.Time {
			v, err := time.Parse(time.RFC3339, m.Header.Get(name))
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		s := span{first: at("Cvf-Time"), gap: m.Header.Get("Cvf-Gap")}
		if s.last = s.first; s.gap != "" {
			s.last = at("Cvf-Gap-To")
		}
		got[m.Subject] = append(got[m.Subject], s)
	}
	return got
}

// checkOnce checks that spans cover each slot of a range exactly once, in order, or
// where not all of them are to be there, that none comes twice or out of order.
func checkOnce(t *testing.T, subject string, spans []span, from, to time.Time, interval time.Duration, all bool) {
	t.Helper()
	next := from
	if over := from.UnixMilli() % interval.Milliseconds(); over != 0 {
		next = from.Add(interval - time.Duration(over)*time.Millisecond)
	}
	gaps := 0
	for _, s := range spans {
		if s.gap != "" {
			gaps++
		}
		if s.first.Before(next) || all && !s.first.Equal(next) {
			t.Errorf("%s: %v came where %v is next", subject, s.first, next)
			return
		}
		next = s.last.Add(interval)
	}
	if all && next.Before(to) {
		t.Errorf("%s: ends before %v", subject, next)
	}
	t.Logf("%s: %d messages, %d of them gaps", subject, len(spans), gaps)
}

const rangeConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: ""}
delivery: {mode: durable}
streams:
  - {name: cam-1, interval: 200ms, from: %q, to: %q, outputs: [small]}
outputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
`

// TestDurableRanges: a range that is read again adds nothing; one that is older than
// what the subject holds is refused, as its slots would be taken for delivered.
func TestDurableRanges(t *testing.T) {
	server, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0", StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	r := newRig(t, kinesistest.Options{Scene: grey{}})
	noon := time.Now().Add(-time.Hour).Truncate(time.Minute).UTC()
	read := func(from, to time.Time) error {
		text := fmt.Sprintf(rangeConfig, r.fakeURL, server.ClientURL(), from.Format(time.RFC3339), to.Format(time.RFC3339))
		cfg, err := config.Parse("test.yaml", []byte(text), noVariables)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		o := feeder.Options{Config: cfg, Log: newLogger(&log, cfg.Log), AccessKey: kinesistest.AccessKey, Secret: kinesistest.SecretKey}
		return feeder.New(o).Run(t.Context())
	}
	for range 2 {
		if err := read(noon, noon.Add(20*time.Second)); err != nil {
			t.Fatal(err)
		}
		got := stored(t, server.ClientURL())["cvf.t.cam-1.small"]
		checkOnce(t, "cam-1", got, noon, noon.Add(20*time.Second), 200*time.Millisecond, true)
		if len(got) != 100 {
			t.Errorf("%d messages", len(got))
		}
	}
	err = read(noon.Add(-time.Minute), noon)
	if feeder.ExitCode(err) != feeder.ExitUsage || !strings.Contains(err.Error(), "cannot come in order") {
		t.Errorf("an older range: %v", err)
	}
	if err := read(noon.Add(20*time.Second), noon.Add(30*time.Second)); err != nil {
		t.Errorf("a newer range: %v", err)
	}
	if n := len(stored(t, server.ClientURL())["cvf.t.cam-1.small"]); n != 150 {
		t.Errorf("%d messages in the end", n)
	}
	r.collected()
}
