package baseline

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	batch   = 5  // messages
	batches = 40 // of each consumer
	// pause is the time between messages, so that no consumer falls behind.
	pause = 15 * time.Millisecond
)

// A consumer is a process that reads a subject of its own, and prints what a message of
// each batch has cost.
type consumer struct {
	name  string
	lines chan float64 // what it prints, ms of CPU time
	costs []float64
}

// BenchmarkConsume sends tensors of 4.9 MB to consumers, which are processes of their
// own, to one after the other. It compares what a tensor costs them in CPU time, and
// reports the medians of the ratios:
//
//	consume-python-vs-socket  the package for Python, against a socket in Python that
//	                          receives the same bytes into the same memory each time
//	consume-nats-py-vs-socket nats-py, likewise
//	consume-go-vs-socket      publish/consume, against such a socket in Go
func BenchmarkConsume(b *testing.B) {
	url := startNATS(b, b.TempDir())
	nc, err := nats.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	all := startConsumers(b, url)
	for _, c := range all { // starting is not measured
		for range 2 {
			c.measure(b, nc)
		}
		c.costs = nil
	}
	n := batches
	if testing.Short() {
		n = 2
	}
	for b.Loop() {
		for range n {
			for _, c := range all {
				c.measure(b, nc)
			}
		}
	}
	for _, c := range all {
		b.Logf("%-10s %.2f ms a tensor, %.2f at least", c.name, median(slices.Clone(c.costs)), slices.Min(c.costs))
	}
	b.ReportMetric(all[1].against(all[0]), "consume-python-vs-socket")
	b.ReportMetric(all[2].against(all[0]), "consume-nats-py-vs-socket")
	b.ReportMetric(all[4].against(all[3]), "consume-go-vs-socket")
}

// measure publishes a batch, and waits for what it costs.
func (c *consumer) measure(b *testing.B, nc *nats.Conn) {
	b.Helper()
	m := tensorMessage("bench." + c.name)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for range batch {
		<-tick.C
		if err := nc.PublishMsg(m); err != nil {
			b.Fatal(err)
		}
	}
	select {
	case cost, ok := <-c.lines:
		if !ok {
			b.Fatalf("%s has ended", c.name)
		}
		c.costs = append(c.costs, cost)
	case <-time.After(time.Minute):
		b.Fatalf("%s has not read what was published", c.name)
	}
}

// against returns the median of the ratios of what the batches have cost.
func (c *consumer) against(floor *consumer) float64 {
	ratios := make([]float64, len(c.costs))
	for i := range ratios {
		ratios[i] = c.costs[i] / floor.costs[i]
	}
	return median(ratios)
}

// startConsumers starts a socket, the package and nats-py in Python, and a socket and the
// package in Go.
func startConsumers(b *testing.B, url string) []*consumer {
	b.Helper()
	python := os.Getenv("CVFEEDER_BENCH_PYTHON")
	if python == "" {
		b.Skip("CVFEEDER_BENCH_PYTHON does not name a Python with what requirements.txt has: `make bench` makes one")
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	var all []*consumer
	start := func(way, program string, env string, before ...string) {
		cmd := exec.Command(program, append(before, way, url, "bench."+way, strconv.Itoa(batch))...)
		cmd.Env = append(os.Environ(), env)
		all = append(all, startConsumer(b, way, cmd))
	}
	for _, way := range []string{"socket", "client", "nats-py"} {
		start(way, python, "PYTHONPATH=../../../clients/python/src", "consumer.py")
	}
	for _, way := range []string{"go-socket", "go-consume"} {
		start(way, self, role+"="+goReader)
	}
	return all
}

// startConsumer starts a process, and waits until it reads.
func startConsumer(b *testing.B, name string, cmd *exec.Cmd) *consumer {
	b.Helper()
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	c := &consumer{name: name, lines: make(chan float64)}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		b.Fatalf("%s does not start: %q", name, lines.Text())
	}
	go func() {
		defer close(c.lines)
		for lines.Scan() {
			cost, err := strconv.ParseFloat(strings.TrimSpace(lines.Text()), 64)
			if err != nil {
				return
			}
			c.lines <- cost
		}
	}()
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	return c
}

// tensorMessage returns a message with a tensor of 3 x 640 x 640 float32.
func tensorMessage(subject string) *nats.Msg {
	m := nats.NewMsg(subject)
	for name, value := range map[string]string{
		"Cvf-Version": "1", "Cvf-Stream": "cam-1", "Cvf-Output": "detector",
		"Cvf-Time": "2026-01-02T03:04:05.200Z", "Cvf-Capture": "2026-01-02T03:04:05.207Z",
		"Cvf-Dtype": "FP32", "Cvf-Shape": "1,3,640,640", "Cvf-Layout": "NCHW", "Cvf-Color": "RGB",
		"Cvf-Source": "1920x1080", "Cvf-Affine": "3,0,-1,0,3,-420", "Cvf-Scale": "0.00392156862745098",
		"Cvf-Mean": "0,0,0", "Cvf-Std": "1,1,1", "Cvf-Spec": "3f2a",
		"Nats-Msg-Id": fmt.Sprintf("cam-1/%d/detector/3f2a", 1767323045200),
	} {
		m.Header.Set(name, value)
	}
	m.Data = make([]byte, 4*3*640*640)
	return m
}
