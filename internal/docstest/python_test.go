package docstest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

const (
	consumer  = "../../clients/python/minimal.py"
	readme    = "../../README.md"
	consumers = "../../docs/consumers.md"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(programsDir())
		os.Exit(code)
	}))
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReadmeShowsThePythonConsumer(t *testing.T) {
	if _, err := os.Stat(readme); errors.Is(err, fs.ErrNotExist) {
		t.Skip("there is no README.md")
	}
	if block := "```python\n" + read(t, consumer) + "```"; !strings.Contains(read(t, readme), block) {
		t.Errorf("README.md does not contain clients/python/minimal.py unchanged, as a block of its own:\n%s", block)
	}
}

func TestPythonConsumerHasTenLines(t *testing.T) {
	lines := strings.FieldsFunc(read(t, consumer), func(r rune) bool { return r == '\n' })
	if len(lines) > 10 {
		t.Errorf("%d lines", len(lines))
	}
}

// tensorOf returns the message of a tensor of 2x2 pixels with the elements 0, 1, 2…
func tensorOf(output string, d transform.DType, layout transform.Layout) publish.Message {
	shape := []int{1, 3, 2, 2}
	if layout == transform.NHWC {
		shape = []int{1, 2, 2, 3}
	}
	var data []byte
	for i := range 12 {
		switch d {
		case transform.Float32:
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(i)))
		case transform.Float16:
			halves := []uint16{0, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600, 0x4700, 0x4800, 0x4880, 0x4900, 0x4980}
			data = binary.LittleEndian.AppendUint16(data, halves[i])
		default:
			data = append(data, byte(i))
		}
	}
	const slot = source.Slot(1767323045200)
	return publish.NewMessage("cvf.t.cam-1."+output, &transform.Tensor{
		Stream: "cam-1", Slot: slot, Capture: slot.Time(),
		Output: &transform.Output{Name: output, Fingerprint: "3f2a", Spec: transform.Spec{
			Color: transform.RGB, DType: d, Layout: layout, Scale: 1, Std: [3]float64{1, 1, 1},
		}},
		Shape: shape, Source: image.Pt(2, 2), Affines: []transform.Affine{{1, 0, 0, 0, 1, 0}},
		Data: data,
	})
}

// TestPythonConsumer needs a Python with the packages in
// clients/python/requirements-test.txt.
func TestPythonConsumer(t *testing.T) {
	python := os.Getenv("CVFEEDER_PYTHON")
	if python == "" {
		t.Skip("CVFEEDER_PYTHON does not name a Python with nats-py and NumPy: `make test` makes one")
	}
	server, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	script := read(t, consumer)
	if strings.Count(script, dial.DefaultURL) != 1 {
		t.Fatalf("%s does not name %s once", consumer, dial.DefaultURL)
	}
	lines := runPython(t, python, strings.Replace(script, dial.DefaultURL, server.ClientURL(), 1))

	conn, err := dial.Dial(dial.Options{Server: server})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if err := conn.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	live := deliver.NewLive(conn, publish.GapEvents)
	for _, tt := range []struct {
		message publish.Message
		want    string
	}{
		{tensorOf("a", transform.Float32, transform.NCHW), "cvf.t.cam-1.a 2026-01-02T03:04:05.200Z float32 (1, 3, 2, 2) 5.5"},
		{tensorOf("b", transform.Float16, transform.NHWC), "cvf.t.cam-1.b 2026-01-02T03:04:05.200Z float16 (1, 2, 2, 3) 5.5"},
		{tensorOf("c", transform.Uint8, transform.NHWC), "cvf.t.cam-1.c 2026-01-02T03:04:05.200Z uint8 (1, 2, 2, 3) 5.5"},
	} {
		gap := publish.Gap{Stream: "cam-1", From: 1767323045200, To: 1767323045200, Slots: 1, Reason: "no_media"}
		inline := publish.NewInlineGap(tt.message.Subject, gap, &transform.Output{Name: "a", Fingerprint: "3f2a"})
		if err := live.Publish(t.Context(), inline); err != nil && !errors.Is(err, publish.ErrUnwatched) {
			t.Fatal(err) // nothing is shown of it, and the next tensors are
		}
		got := publishUntilShown(t, live, tt.message, lines)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Error(diff)
		}
	}
}

// runPython runs a script until the test ends and returns the lines it prints.
func runPython(t *testing.T, python, script string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, python, "-u", "-c", script)
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if err := cmd.Wait(); t.Failed() {
			t.Logf("Python: %v\n%s", err, stderr.String())
		}
	})
	return lines
}

// publishUntilShown publishes m until the reader prints a line about its subject, and
// returns that line. Core NATS keeps no messages for a reader that subscribes later.
func publishUntilShown(t *testing.T, live *deliver.Live, m publish.Message, lines <-chan string) string {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case line, running := <-lines:
			if !running {
				t.Fatal("Python has ended")
			}
			if strings.HasPrefix(line, m.Subject+" ") {
				return line
			}
		case <-tick.C:
			// Python may not have subscribed yet.
			if err := live.Publish(t.Context(), m); err != nil && !errors.Is(err, publish.ErrUnwatched) {
				t.Fatal(err)
			}
		case <-timeout:
			t.Fatalf("nothing on %s within 30s", m.Subject)
		}
	}
}
