package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{cameras: 6000, groups: 3, cores: 1, interval: time.Second, use: 0.6, outage: 10 * time.Minute, retention: 24 * time.Hour, lease: 6 * time.Second, seed: 3}
	var err error
	if f.prices, err = pricesOf(""); err != nil {
		t.Fatal(err)
	}
	if err := read(lastFigures, &f.figures); err != nil {
		t.Fatal(err)
	}
	if err := f.predict(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestFailures: what fails takes as many cameras as it must, for as long as it must.
func TestFailures(t *testing.T) {
	f := newFleet(t)
	all := f.failures()
	for i, want := range []struct {
		least, most     int // cameras
		shortest, after time.Duration
	}{
		{1500, 2500, 3 * time.Second, 9 * time.Second},
		{1500, 2500, 0, 5 * time.Second},
		{2000, 2000, f.outage, f.outage + 40*time.Second},
		{6000, 6000, f.outage, f.outage + 46*time.Second},
	} {
		got := all[i]
		if got.cameras < want.least || got.cameras > want.most || got.longest < want.shortest || got.longest > want.after {
			t.Errorf("%s: %d cameras for %v, want %d to %d for %v to %v", got.name, got.cameras, got.longest, want.least, want.most, want.shortest, want.after)
		}
		if got.writes > f.figures.WritesThree {
			t.Errorf("%s: the bucket takes %v writes a second, %v were written", got.name, f.figures.WritesThree, got.writes)
		}
	}
	if asks := all[3].asks; asks < 6000/60 || asks > 6000/5 {
		t.Errorf("when AWS answers again, %v ask at once", asks)
	}
	if d := all[2].wellAgain(); d < all[2].longest || d > 2*all[2].longest { // 0.6 / 0.4
		t.Errorf("caught up after %v more", d)
	}
}

// TestTooFewCores: what two zones cannot carry, they do not, and slots are lost at last.
func TestTooFewCores(t *testing.T) {
	f := newFleet(t)
	f.use = 0.7
	var b strings.Builder
	f.report(&b)
	row := strings.Split(b.String(), "\n")[2]
	if !strings.Contains(row, "a zone is lost") || !strings.Contains(row, "never: too few cores") {
		t.Errorf("%s", row)
	}
	f.use, f.retention = 0.6, 5*time.Minute
	b.Reset()
	f.report(&b)
	if rows := strings.Split(b.String(), "\n"); strings.HasSuffix(rows[4], " 0 |") || !strings.HasSuffix(rows[2], " 0 |") {
		t.Errorf("with media for five minutes:\n%s", b.String())
	}
}

// TestDocument: docs/scaling.md has the tables that follow from the figures and prices.
func TestDocument(t *testing.T) {
	f := newFleet(t)
	f.cameras, f.groups, f.cores = 1_000_000, 10, 8
	text, err := os.ReadFile("../../docs/scaling.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []func(*strings.Builder){func(b *strings.Builder) { f.needs(b) }, func(b *strings.Builder) { f.costs(b) }} {
		var b strings.Builder
		if table(&b); !strings.Contains(string(text), b.String()) {
			t.Errorf("docs/scaling.md lacks this table, run make scaling:\n%s", b.String())
		}
	}
	file := filepath.Join(t.TempDir(), "doc.md")
	f.cameras = 3000
	for range 2 { // the second time, there are tables
		if _, err := os.Stat(file); err != nil {
			if err := os.WriteFile(file, []byte("before\n"+tablesBegin+tablesEnd+"\nafter\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.write(file); err != nil {
			t.Fatal(err)
		}
	}
	text, err = os.ReadFile(file)
	if got := string(text); err != nil || strings.Count(got, "| failure |") != 1 || !strings.HasPrefix(got, "before\n"+tablesBegin) || !strings.HasSuffix(got, tablesEnd+"\nafter\n") {
		t.Errorf("%v: %s", err, got)
	}
}

// TestPrices: a file may leave out what is as usual, and a typing error is none.
func TestPrices(t *testing.T) {
	file := filepath.Join(t.TempDir(), "prices.json")
	for text, want := range map[string]float64{`{"per_million_images": 12}`: 12, `{"per_million_image": 12}`: 0} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := pricesOf(file)
		if (err == nil) != (want > 0) || err == nil && (p.PerMillionImages != want || p.CoreHour == 0) {
			t.Errorf("%s: %+v %v", text, p, err)
		}
	}
}

// TestValueOf reads what benchmarks print.
func TestValueOf(t *testing.T) {
	const out = "goos: linux\nBenchmarkLeases/R3-2  \t  20000\t  40100 ns/op\t  2.56 ms/write\t  24936 writes/s\nPASS\n"
	if v, err := valueOf(out, "writes/s"); err != nil || v != 24936 {
		t.Errorf("%v %v", v, err)
	}
	if _, err := valueOf(out, "ms/page"); err == nil {
		t.Error("a value that is not there")
	}
}
