package baseline

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const batchRounds = 40

// BenchmarkBatched puts eight tensors of 4.9 MB into a batch, in Python, and compares the least
// times of several rounds:
//
//	batched-python-vs-copy  cvfeeder.batched, against copies into one array that is there
//	stack-python-vs-copy    np.stack, likewise
func BenchmarkBatched(b *testing.B) {
	python := os.Getenv("CVFEEDER_BENCH_PYTHON")
	if python == "" {
		b.Skip("CVFEEDER_BENCH_PYTHON does not name a Python with what requirements.txt has: `make bench` makes one")
	}
	rounds := batchRounds
	if testing.Short() {
		rounds = 3
	}
	least := []float64{math.Inf(1), math.Inf(1), math.Inf(1)}
	for b.Loop() {
		cmd := exec.Command(python, "batched.py", fmt.Sprint(rounds))
		cmd.Env = append(os.Environ(), "PYTHONPATH=../../../clients/python/src")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			b.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			var ms [3]float64
			if _, err := fmt.Sscan(line, &ms[0], &ms[1], &ms[2]); err != nil {
				b.Fatalf("%q: %v", line, err)
			}
			for i, v := range ms {
				least[i] = min(least[i], v)
			}
		}
	}
	b.Logf("batched %.2f ms, np.stack %.2f ms, copies %.2f ms", least[0], least[1], least[2])
	b.ReportMetric(least[0]/least[2], "batched-python-vs-copy")
	b.ReportMetric(least[1]/least[2], "stack-python-vs-copy")
}
