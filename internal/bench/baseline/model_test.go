package baseline

import (
	"bufio"
	"context"
	"fmt"
	"image"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/memory"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/handoff"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/transform"
)

const (
	modelLength = 32 * time.Second // of the range that is read, at most
	side        = 640
	modelBytes  = 4 * 3 * side * side
	modelSlots  = 32
	modelBatch  = 20
	// sharedBytes is the memory of the feeder: for more tensors than it makes in a second.
	sharedBytes = 1 << 30
	// modelPatience is how long a consumer may have nothing to say.
	modelPatience = 15 * time.Second
	handoffBatch  = 50 // tensors
	handoffRuns   = 30 // batches
	// handoffPause is the time between tensors: what a feeder has is not all at once.
	handoffPause = 4 * time.Millisecond
)

// modelNATS lets all that is published wait for a slow reader.
const modelNATS = `
listen: "127.0.0.1:-1"
max_payload: 8MB
max_pending: 4GB
write_deadline: "60s"
`

// A server is NATS in a process of its own.
type server struct {
	url string
	cmd *exec.Cmd
}

func startServer(b *testing.B, dir, text string) server {
	b.Helper()
	file := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(build(b, filepath.Join(dir, "nats-server"), "github.com/nats-io/nats-server/v2"), "-c", file)
	log, err := cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	return server{"nats://" + started(b, cmd, log, regexp.MustCompile(`client connections on (\S+)`)), cmd}
}

// cpu returns the CPU time that the threads of the server have had.
func (s server) cpu(b *testing.B) time.Duration {
	b.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", s.cmd.Process.Pid))
	if err != nil || len(files) == 0 {
		b.Fatalf("the server's CPU time cannot be read: %v", err)
	}
	var sum time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that has ended
		}
		var ns int64
		if _, err := fmt.Sscan(string(text), &ns); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

// A model is the process of a consumer in Python.
type model struct {
	b     *testing.B
	cmd   *exec.Cmd
	lines chan string
	count int           // of the tensors that it has got
	spent time.Duration // CPU time
}

func startModel(b *testing.B, way, url, subject, dir string, batch int) *model {
	b.Helper()
	python := os.Getenv("CVFEEDER_BENCH_PYTHON")
	if python == "" {
		b.Skip("CVFEEDER_BENCH_PYTHON does not name a Python with what requirements.txt has: `make bench` makes one")
	}
	cmd := exec.Command(python, "model.py", way, url, subject, dir, strconv.Itoa(batch))
	cmd.Env = append(os.Environ(), "PYTHONPATH=../../../clients/python/src")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	m := &model{b: b, cmd: cmd, lines: make(chan string)}
	go func() {
		defer close(m.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			m.lines <- lines.Text()
		}
	}()
	if got := <-m.lines; got != "ready" {
		b.Fatalf("%s does not start: %q", way, got)
	}
	return m
}

// read waits until so many tensors have come in all, or none for some time, and returns the CPU
// time that each of those since the last call has taken.
func (m *model) read(count int) time.Duration {
	m.b.Helper()
	before, spent := m.count, m.spent
	for m.count < count {
		select {
		case line, ok := <-m.lines:
			var ms float64
			if _, err := fmt.Sscan(line, &m.count, &ms); err != nil || !ok {
				m.b.Fatalf("the consumer says %q", line)
			}
			m.spent = time.Duration(ms * 1e6)
		case <-time.After(modelPatience):
			count = m.count // the feeder drops tensors rather than be late
		}
	}
	if m.count == before {
		m.b.Fatal("no tensor has come")
	}
	return (m.spent - spent) / time.Duration(m.count-before)
}

func (m *model) end() {
	_ = m.cmd.Process.Kill()
	for range m.lines {
	}
	_ = m.cmd.Wait() // it was killed
}

// ownCPU returns the CPU time of this process.
func ownCPU() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // fails only for other arguments
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkHandoff hands tensors of 4.9 MB over in memory, to a process in Python that makes an
// array of each, and reports
//
//	handoff-memory  ms of CPU time for each, of the publisher, the server and the consumer, in
//	                the batch that took the least: what else the machine does adds to the others
//
// Making the tensor is not part of it: with and without memory, the worker writes it once.
func BenchmarkHandoff(b *testing.B) {
	dir := b.TempDir()
	shared := filepath.Join("/dev/shm", filepath.Base(filepath.Dir(dir))+"-bench")
	b.Cleanup(func() { _ = os.RemoveAll(shared) })
	nats := startServer(b, dir, modelNATS)
	ring, err := memory.Open(b.Context(), memory.Options{Dir: shared, Bytes: modelSlots * modelBytes, SlotBytes: modelBytes})
	if err != nil {
		b.Skip(err)
	}
	defer ring.Close()
	conn, err := dial.Dial(dial.Options{URL: nats.url})
	if err == nil {
		err = conn.WaitConnected(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.Background())
	d := handoff.New(deliver.NewLive(conn, publish.NoGaps), handoff.Options{Host: ring.Host, OnUnknown: func(err error) { b.Error(err) }})
	ctx, stop := context.WithCancel(b.Context())
	var serving sync.WaitGroup
	serving.Go(func() { d.Serve(ctx) })
	defer serving.Wait()
	defer stop()
	reader := startModel(b, "memory", nats.url, "cvf.t.cam-1.detector", shared, handoffBatch)
	defer reader.end()
	p := newPublisher(b, ring, d)
	var costs []float64
	for run := 0; b.Loop(); {
		for ; run < handoffRuns*(b.N+1); run++ {
			before := d.Counts().Payload
			own, theirs := ownCPU(), nats.cpu(b)
			p.publish(b, handoffBatch)
			consumer := reader.read(handoffBatch * (run + 1))
			own, theirs = (ownCPU()-own)/handoffBatch, (nats.cpu(b)-theirs)/handoffBatch
			if d.Counts().Payload > before {
				continue // the first batch
			}
			costs = append(costs, (own+theirs+consumer).Seconds()*1e3)
			if slices.Min(costs) == costs[len(costs)-1] {
				b.Logf("publisher %v, server %v, consumer %v", own, theirs, consumer)
			}
		}
	}
	if len(costs) == 0 {
		b.Fatal("nothing went through memory")
	}
	b.Logf("%.3g ms in the middle of all batches", median(slices.Clone(costs)))
	b.ReportMetric(slices.Min(costs), "handoff-memory")
}

// A publisher publishes tensors in memory.
type publisher struct {
	d       publish.Delivery
	buffers transform.Buffers
	output  *transform.Output
	slot    source.Slot
}

func newPublisher(b *testing.B, ring *memory.Ring, d publish.Delivery) *publisher {
	b.Helper()
	spec, err := transform.Preset("yolo")
	if err != nil {
		b.Fatal(err)
	}
	return &publisher{d: d, buffers: transform.Buffers{Shared: ring}, output: &transform.Output{Name: "detector", Spec: spec, Fingerprint: "3f2a"}, slot: 1767323045200}
}

func (p *publisher) publish(b *testing.B, n int) {
	b.Helper()
	tick := time.NewTicker(handoffPause)
	defer tick.Stop()
	for range n {
		<-tick.C
		t, _ := p.buffers.Tensor(modelBytes, transform.Padding{})
		p.slot += 200
		t.Stream, t.Slot, t.Capture, t.Output = "cam-1", p.slot, p.slot.Time(), p.output
		t.Shape, t.Source, t.Affines = []int{1, 3, side, side}, image.Pt(1920, 1080), []transform.Affine{{1, 0, 0, 0, 1, 0}}
		if err := p.d.Publish(b.Context(), publish.NewMessage("cvf.t.cam-1.detector", t)); err != nil {
			b.Fatal(err)
		}
		t.Release()
	}
}

const sharedConfig = config + `
delivery: {memory: %q, memory_bytes: %dB}
`

// BenchmarkModel measures the whole way from the answers of GetImages to arrays in the process of
// a model in Python: the CPU time of the feeder, the NATS server and the consumer. Against it
// runs what a user would write at both ends. It reports the medians of the ratios
//
//	pipeline-to-model-vs-python         both over NATS
//	pipeline-to-model-memory-vs-python  ours in memory
func BenchmarkModel(b *testing.B) {
	dir := b.TempDir()
	to := time.Now().UTC().Truncate(time.Minute).Add(-time.Minute)
	length, rounds := extent()
	length = min(length, modelLength)
	r := &rig{dir: dir, python: os.Getenv("CVFEEDER_BENCH_PYTHON"), from: to.Add(-length), to: to, frames: cameras * int(length/interval)}
	if r.python == "" {
		b.Skip("CVFEEDER_BENCH_PYTHON does not name a Python with what requirements.txt has: `make bench` makes one")
	}
	r.cvfeeder = build(b, filepath.Join(dir, "cvfeeder"), "github.com/cvfeeder/cvfeeder/cmd/cvfeeder")
	r.fake = startFake(b)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": kinesistest.AccessKey, "AWS_SECRET_ACCESS_KEY": kinesistest.SecretKey,
		"AWS_DEFAULT_REGION": kinesistest.Region, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		b.Setenv(name, value)
	}
	nats := startServer(b, dir, modelNATS)
	r.nats = nats.url
	shared := filepath.Join("/dev/shm", filepath.Base(filepath.Dir(dir))+"-model")
	if _, err := memory.Check(memory.Options{Dir: shared, Bytes: sharedBytes, SlotBytes: modelBytes}); err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(shared) })
	network, inMemory := r.feeder(b, "exact"), r.sharing(b, shared)
	r.toModel(b, nats, "memory", shared, inMemory) // the fake service draws the pictures, and the memory gets its name
	var socket, place []float64
	for b.Loop() {
		for range rounds {
			theirs := r.toModel(b, nats, "nats-py", shared, r.baseline("exact"))
			socket = append(socket, theirs/r.toModel(b, nats, "network", shared, network))
			place = append(place, theirs/r.toModel(b, nats, "memory", shared, inMemory))
		}
	}
	b.ReportMetric(median(socket), "pipeline-to-model-vs-python")
	b.ReportMetric(median(place), "pipeline-to-model-memory-vs-python")
}

// sharing returns the command of a feeder that shares memory.
func (r *rig) sharing(b *testing.B, dir string) []string {
	b.Helper()
	return r.feederOf(b, "sharing.yaml", sharedConfig, "exact", dir, sharedBytes)
}

// toModel runs a feeder and a consumer, and returns the seconds of CPU time for each tensor.
func (r *rig) toModel(b *testing.B, nats server, way, dir string, feeder []string) float64 {
	b.Helper()
	reader := startModel(b, way, r.nats, "cvf.t.>", dir, modelBatch)
	defer reader.end()
	before := nats.cpu(b)
	u, err := measure(b.Context(), feeder)
	if err != nil {
		b.Fatalf("%s: %v", way, err)
	}
	consumer := reader.read(r.frames)
	served := (nats.cpu(b) - before) / time.Duration(r.frames)
	own := u.cpu / time.Duration(r.frames)
	b.Logf("%-8s feeder %v, server %v, consumer %v a tensor, of %d; %.1f s", way, own, served, consumer, reader.count, u.wall.Seconds())
	return (own + served + consumer).Seconds()
}
