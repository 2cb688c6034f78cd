package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTable: each benchmark exists and reports its result.
func TestTable(t *testing.T) {
	for _, b := range benchmarks {
		files, err := filepath.Glob(filepath.Join("../..", b.pkg, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		var found, reported bool
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(string(data), "func "+b.function+"(b *testing.B)")
			reported = reported || mentions(string(data), b.name)
		}
		if !found || !reported {
			t.Errorf("%s: %s in %s exists: %v, reports it: %v", b.name, b.function, b.pkg, found, reported)
		}
	}
}

// mentions reports whether a source names a result: as a whole, or as a beginning and an
// end that are put together.
func mentions(source, name string) bool {
	if strings.Contains(source, `"`+name+`"`) {
		return true
	}
	dash := strings.LastIndex(name, "-") + 1
	return strings.Contains(source, `"`+name[:dash]+`"`) && strings.Contains(source, `"`+name[dash:]+`"`)
}

func TestMetric(t *testing.T) {
	const output = `goos: linux
BenchmarkX-2   	     100	  10 ns/op	 1.25 x-vs-y	 8.00 y-ms	0 B/op	0 allocs/op
BenchmarkX-2   	     100	  10 ns/op	 1.05 x-vs-y	 8.00 y-ms
BenchmarkX-2   	     100	  10 ns/op	 1.15 x-vs-y	 8.00 y-ms
BenchmarkOdd-2   	     100	  10
BenchmarkName
PASS
`
	if v, err := metric(output, "x-vs-y"); v != 1.15 || err != nil {
		t.Errorf("metric is %v, %v, want the median 1.15", v, err)
	}
	if _, err := metric(output, "z"); err == nil || !strings.Contains(err.Error(), "no benchmark reported z") {
		t.Errorf("error is %v", err)
	}
	if _, err := metric("BenchmarkX-2 1 many z\n", "z"); err == nil {
		t.Error("no error for a value that is not a number")
	}
}

func TestLine(t *testing.T) {
	ceiling := benchmark{name: "a", atMost: true, budget: 1.2}
	floor := benchmark{name: "b", budget: 1.9}
	shown := benchmark{name: "c", atMost: true}
	for _, tc := range []struct {
		b      benchmark
		value  float64
		line   string
		within bool
	}{
		{ceiling, 1.1512, "bench: a 1.15 (budget <= 1.2)", true},
		{ceiling, 1.2, "bench: a 1.2 (budget <= 1.2)", true},
		{ceiling, 1.21, "bench: a 1.21 (budget <= 1.2)", false},
		{shown, 7, "bench: c 7", true},
		{floor, 1.9, "bench: b 1.9 (budget >= 1.9)", true},
		{floor, 1.5, "bench: b 1.5 (budget >= 1.9)", false},
	} {
		if got := tc.b.line(tc.value); got != tc.line {
			t.Errorf("line is %q, want %q", got, tc.line)
		}
		if got := tc.b.within(tc.value); got != tc.within {
			t.Errorf("within(%v) of %s is %v", tc.value, tc.b.name, got)
		}
	}
}
