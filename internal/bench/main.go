// Command bench measures the project against its budgets; "make bench" runs it.
//
//	go run ./internal/bench
//
// It runs the Go benchmarks in the table below, shows their output, and ends with one
// line for each result:
//
//	bench: transform-yolo-drawn 0.41 (budget <= 0.45)
//
// without a budget where the result is only shown. Most results are a ratio to a floor or a peer that the benchmark measures in the same
// run, so that they mean the same on any machine. The others are streams-10k (KiB for
// each stream), streams-10k-lateness (ms), handoff-memory (ms), scrape-10k (seconds) and scrape-10k-memory
// (MB). A benchmark reports a result with [testing.B.ReportMetric], and the result's
// name is the unit.
//
// Results over budget are named on standard error. Speed is measured, not asserted: the
// exit code is 0 if every benchmark ran.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// A benchmark makes one result.
type benchmark struct {
	name     string // of the result, and the unit of the metric
	pkg      string // relative to the module
	function string
	atMost   bool    // the budget is a maximum; a minimum otherwise
	budget   float64 // 0: it is only shown
}

// benchmarks has all budgets.
var benchmarks = [...]benchmark{
	{"transform-yolo-drawn", "transform/opencv", "BenchmarkTransform", true, 0.45},
	{"transform-yolo-footage", "transform/opencv", "BenchmarkTransform", true, 0.45},
	{"transform-gray-drawn", "transform/opencv", "BenchmarkTransform", true, 0.45},
	{"transform-gray-footage", "transform/opencv", "BenchmarkTransform", true, 0.45},
	{"transform-roi4-drawn", "transform/opencv", "BenchmarkTransform", true, 0.35},
	{"transform-roi4-footage", "transform/opencv", "BenchmarkTransform", true, 0.35},
	{"transform-two-drawn", "transform/opencv", "BenchmarkTransform", true, 0.65},
	{"transform-two-footage", "transform/opencv", "BenchmarkTransform", true, 0.65},
	{"transform-fast-drawn", "transform/opencv", "BenchmarkTransform", true, 0.35},
	{"transform-fast-footage", "transform/opencv", "BenchmarkTransform", true, 0.35},
	{"transform-imagenet-drawn", "transform/opencv", "BenchmarkTransform", true, 0.85},
	{"transform-imagenet-footage", "transform/opencv", "BenchmarkTransform", true, 0.95},
	{"transform-clip-drawn", "transform/opencv", "BenchmarkTransform", true, 0.95},
	{"transform-clip-footage", "transform/opencv", "BenchmarkTransform", true, 1.1},
	{"vs-cv2-yolo-drawn", "transform/opencv", "BenchmarkPeers", true, 0},
	{"vs-cv2-yolo-footage", "transform/opencv", "BenchmarkPeers", true, 0},
	{"vs-pillow-imagenet-drawn", "transform/opencv", "BenchmarkPeers", true, 0},
	{"vs-pillow-imagenet-footage", "transform/opencv", "BenchmarkPeers", true, 0},
	{"vs-pillow-clip-drawn", "transform/opencv", "BenchmarkPeers", true, 0},
	{"vs-pillow-clip-footage", "transform/opencv", "BenchmarkPeers", true, 0},
	{"libjpeg3-drawn", "transform/opencv", "BenchmarkPeers", true, 0},
	{"libjpeg3-footage", "transform/opencv", "BenchmarkPeers", true, 0},
	{"transform-scaling", "transform/opencv", "BenchmarkTransformScaling", false, 1.9},
	{"gate-vs-frame", "transform/opencv", "BenchmarkGateVsFrame", true, 0.4},
	{"tiles-decode-vs-whole", "transform/opencv", "BenchmarkTiles", true, 1.2},
	{"original-ms", "transform/opencv", "BenchmarkOriginal", true, 0.3},
	{"quality-vs-transform", "transform/opencv", "BenchmarkQualityVsTransform", true, 0.02},
	{"images-per-event", "internal/feeder", "BenchmarkImagesPerEvent", true, 0.125},
	{"page-decode-vs-read", "source/kinesis", "BenchmarkPage", true, 1.3},
	{"page-decode-vs-sdk", "source/kinesis", "BenchmarkPage", false, 5},
	{"publish-vs-nats", "publish/nats/deliver", "BenchmarkPublish", false, 0.9},
	{"streams-10k", "internal/bench/streams", "BenchmarkStreams", true, 32},
	{"streams-10k-lateness", "internal/bench/streams", "BenchmarkStreams", true, 50},
	{"pipeline-vs-python", "internal/bench/baseline", "BenchmarkPipeline", false, 1.8},
	{"pipeline-vs-python-fast", "internal/bench/baseline", "BenchmarkPipeline", false, 2.5},
	{"pipeline-memory-vs-python", "internal/bench/baseline", "BenchmarkPipeline", true, 0.5},
	{"consume-python-vs-socket", "internal/bench/baseline", "BenchmarkConsume", true, 1.5},
	{"consume-go-vs-socket", "internal/bench/baseline", "BenchmarkConsume", true, 1.2},
	{"batched-python-vs-copy", "internal/bench/baseline", "BenchmarkBatched", true, 1.2},
	{"stack-python-vs-copy", "internal/bench/baseline", "BenchmarkBatched", true, 0},
	{"handoff-memory", "internal/bench/baseline", "BenchmarkHandoff", true, 0.3},
	{"pipeline-to-model-vs-python", "internal/bench/baseline", "BenchmarkModel", false, 2.5},
	{"pipeline-to-model-memory-vs-python", "internal/bench/baseline", "BenchmarkModel", false, 4},
	{"scrape-10k", "metrics", "BenchmarkScrape", true, 1},
	{"scrape-10k-memory", "metrics", "BenchmarkScrape", true, 50},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run measures everything and then prints the results, even if some benchmarks failed.
func run(ctx context.Context, stdout, stderr io.Writer) error {
	var results, over []string
	var errs []error
	outputs := map[string]string{} // by function: one may report several results
	for _, b := range benchmarks {
		value, err := b.measure(ctx, outputs, stdout, stderr)
		if err != nil {
			errs = append(errs, fmt.Errorf("bench: %s was not measured: %w", b.name, err))
			continue
		}
		results = append(results, b.line(value))
		if !b.within(value) {
			over = append(over, b.name)
		}
	}
	for _, line := range results {
		fmt.Fprintln(stdout, line)
	}
	if len(over) > 0 {
		fmt.Fprintln(stderr, "over budget:", strings.Join(over, " "))
	}
	return errors.Join(errs...)
}

// measure returns the benchmark's result. It runs the benchmark unless outputs has its
// output already.
func (b benchmark) measure(ctx context.Context, outputs map[string]string, stdout, stderr io.Writer) (float64, error) {
	key := b.pkg + "." + b.function
	if out, ok := outputs[key]; ok {
		return metric(out, b.name)
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-tags", "gocv_specific_modules",
		"-run", "^$", "-bench", "^"+b.function+"$", "-benchmem", "-timeout", "30m", "./"+b.pkg)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = io.MultiWriter(stdout, &out), stderr
	err := cmd.Run()
	outputs[key] = out.String()
	if err != nil {
		return 0, fmt.Errorf("%v: %w", cmd, err)
	}
	return metric(out.String(), b.name)
}

// metric finds the values of a unit in the output of "go test -bench" and returns
// their median.
func metric(output, unit string) (float64, error) {
	var values []float64
	for lines := bufio.NewScanner(strings.NewReader(output)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		// The name and the number of iterations, then pairs of value and unit.
		for pair := range slices.Chunk(fields[2:], 2) {
			if len(pair) < 2 || pair[1] != unit {
				continue
			}
			v, err := strconv.ParseFloat(pair[0], 64)
			if err != nil {
				return 0, fmt.Errorf("%q is not a number: %w", pair[0], err)
			}
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return 0, fmt.Errorf("no benchmark reported %s (skipped on this machine?)", unit)
	}
	slices.Sort(values)
	return values[len(values)/2], nil
}

// within reports whether the value is within the budget.
func (b benchmark) within(value float64) bool {
	if b.atMost {
		return value <= b.budget || b.budget == 0
	}
	return value >= b.budget
}

// line returns the result as it is printed.
func (b benchmark) line(value float64) string {
	if b.budget == 0 {
		return fmt.Sprintf("bench: %s %.3g", b.name, value)
	}
	op := ">="
	if b.atMost {
		op = "<="
	}
	return fmt.Sprintf("bench: %s %.3g (budget %s %g)", b.name, value, op, b.budget)
}
