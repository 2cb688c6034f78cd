package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// figures are what one machine can do, as measured by the benchmarks of one commit.
type figures struct {
	Machine string `json:"machine"`
	Commit  string `json:"commit"`
	// TransformMS is the time of a core from a 1080p JPEG to a tensor, and PageMS that for
	// an answer with 25 of them.
	TransformMS float64 `json:"transform_ms"`
	PageMS      float64 `json:"page_ms"`
	// WritesOne and WritesThree are how many leases a bucket takes in a second, on one
	// server and on three.
	WritesOne   float64 `json:"writes_one"`
	WritesThree float64 `json:"writes_three"`
}

// prices are those of a provider. Those of the cores and servers are for an hour.
type prices struct {
	Currency         string  `json:"currency"`
	PerMillionImages float64 `json:"per_million_images"` // price.per_million_images of the config
	CoreHour         float64 `json:"core_hour"`
	NATSNodeHour     float64 `json:"nats_node_hour"`
	GBBetweenZones   float64 `json:"gb_between_zones"`
}

var (
	//go:embed figures.json
	lastFigures []byte
	//go:embed prices.json
	usualPrices []byte
)

// figuresFile is where the figures are kept, from the top of the repository.
const figuresFile = "internal/simulate/figures.json"

// read reads JSON in which every key is known.
func read(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// pricesOf returns the prices of a file, those that are usual for "". A file may leave out
// what is as usual.
func pricesOf(file string) (p prices, err error) {
	if err := read(usualPrices, &p); err != nil || file == "" {
		return p, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return p, err
	}
	if err := read(data, &p); err != nil {
		return p, fmt.Errorf("%s: %w", file, err)
	}
	return p, nil
}

// A measurement is a benchmark, and what its units are called here.
type measurement struct {
	pkg, function string
	count         string // how often it runs
	units         map[string]func(*figures) *float64
}

func measurements() []measurement {
	return []measurement{
		{"transform/opencv", "BenchmarkTransform/drawn", "1x", map[string]func(*figures) *float64{
			"transform-yolo-drawn-ms": func(f *figures) *float64 { return &f.TransformMS },
		}},
		{"source/kinesis", "BenchmarkPage", "1s", map[string]func(*figures) *float64{
			"ms/page": func(f *figures) *float64 { return &f.PageMS },
		}},
		{"publish/nats/lease", "BenchmarkLeases/R1", "1s", map[string]func(*figures) *float64{
			"writes/s": func(f *figures) *float64 { return &f.WritesOne },
		}},
		{"publish/nats/lease", "BenchmarkLeases/R3", "1s", map[string]func(*figures) *float64{
			"writes/s": func(f *figures) *float64 { return &f.WritesThree },
		}},
	}
}

// measure runs the benchmarks, and keeps what they say.
func measure(ctx context.Context, progress io.Writer) (figures, error) {
	f := figures{Machine: machine(), Commit: commit(ctx)}
	for _, m := range measurements() {
		fmt.Fprintln(progress, "measuring", m.pkg, m.function)
		pattern := "^" + strings.ReplaceAll(m.function, "/", "$/^") + "$"
		cmd := exec.CommandContext(ctx, "go", "test", "-tags", "gocv_specific_modules",
			"-run", "^$", "-bench", pattern, "-benchtime", m.count, "-timeout", "30m", "./"+m.pkg)
		cmd.Stderr = progress
		out, err := cmd.Output()
		if err != nil {
			return f, fmt.Errorf("%s: %w\n%s", m.function, err, out)
		}
		for unit, field := range m.units {
			value, err := valueOf(string(out), unit)
			if err != nil {
				return f, fmt.Errorf("%s: %w", m.function, err)
			}
			*field(&f) = value
		}
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return f, err
	}
	return f, os.WriteFile(figuresFile, append(data, '\n'), 0o600)
}

// valueOf returns the value of a unit in the output of "go test -bench".
func valueOf(output, unit string) (float64, error) {
	for lines := bufio.NewScanner(strings.NewReader(output)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if i := slices.Index(fields, unit); i > 0 && strings.HasPrefix(fields[0], "Benchmark") {
			return strconv.ParseFloat(fields[i-1], 64)
		}
	}
	return 0, fmt.Errorf("there is no %s", unit)
}

// machine names the machine: its cores, its processor, and what else it has to do.
func machine() string {
	name := runtime.GOARCH
	data, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(data)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				name = strings.TrimSpace(value)
				break
			}
		}
	}
	load := ""
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(data), " ")
		load = ", at a load of " + load + " before"
	}
	return fmt.Sprintf("%d cores of %s%s", runtime.NumCPU(), name, load)
}

// commit names the commit, "unknown" outside of a repository.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=7").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
