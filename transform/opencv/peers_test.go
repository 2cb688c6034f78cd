package opencv

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// peerCases are the results' names without the picture's, and the tasks of
// testdata/peers.py that do the same as presets.
var peerCases = []struct{ name, preset string }{
	{"vs-cv2-yolo-", "yolo"}, {"vs-pillow-imagenet-", "imagenet"}, {"vs-pillow-clip-", "clip"},
}

// BenchmarkPeers compares with what others are built on: the newest libjpeg-turbo that a
// wheel has, and the resizers of OpenCV and Pillow, which take turns with the worker.
//
//	vs-cv2-yolo-PICTURE         the time to the tensor, divided by that of libjpeg-turbo 3, cv2 and NumPy
//	vs-pillow-imagenet-PICTURE  the same with Pillow; and vs-pillow-clip-PICTURE
//	libjpeg3-PICTURE            libjpeg-turbo 3's whole decode, divided by that of the linked one
func BenchmarkPeers(b *testing.B) {
	python := os.Getenv("CVFEEDER_BENCH_PYTHON")
	if python == "" {
		b.Skip("CVFEEDER_BENCH_PYTHON does not name a Python with the packages: `make bench` makes one")
	}
	b.Run("drawn", func(b *testing.B) { benchmarkPeers(b, python, "drawn", drawnJPEG(b)) })
	b.Run("footage", func(b *testing.B) { benchmarkPeers(b, python, "footage", readFile(b, "testdata/footage.jpg")) })
}

func benchmarkPeers(b *testing.B, python, picture string, data []byte) {
	peer := startPeer(b, python, data)
	w := NewWorker(Options{})
	defer w.Close()
	floor := libjpegAlone(b, w, data)
	tasks := []pairOfTasks{{"libjpeg3-", func() time.Duration { return peer("decode") }, func() time.Duration { return timed(floor) }}}
	for _, c := range peerCases {
		w, out := NewWorker(Options{}), newOutput(b, c.preset, nil)
		defer w.Close()
		ours := func() time.Duration { return timed(func() { transformOnce(b, w, data, out) }) }
		tasks = append(tasks, pairOfTasks{c.name, ours, func() time.Duration { return peer(c.preset) }})
	}
	turns := 40
	if testing.Short() {
		turns = 2
	}
	for b.Loop() {
		for _, t := range tasks {
			one, other := t.one(), t.other()
			for range turns {
				one, other = min(one, t.one()), min(other, t.other())
			}
			b.ReportMetric(float64(one)/float64(other), t.name+picture)
		}
	}
}

// pairOfTasks are two tasks whose least times are compared.
type pairOfTasks struct {
	name       string
	one, other func() time.Duration
}

// startPeer starts testdata/peers.py, and returns a function that has it do a task.
func startPeer(b *testing.B, python string, data []byte) func(task string) time.Duration {
	b.Helper()
	file := filepath.Join(b.TempDir(), "picture.jpg")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(python, "testdata/peers.py", file)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close() // it ends then
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	answers := bufio.NewReader(out)
	return func(task string) (took time.Duration) {
		if _, err := io.WriteString(in, task+"\n"); err != nil {
			b.Fatal(err)
		}
		if _, err := fmt.Fscan(answers, &took); err != nil {
			b.Fatal(err)
		}
		return took
	}
}
