package depcheck

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// exact are the packages whose results are the same to the last bit on every processor:
// what makes pixels, values and places in the picture, and the fake service's pictures. For
// transform/opencv, which needs a C compiler for the processor, "make test-arm64" looks.
var exact = []string{"transform", "publish/tensor", "internal/tensorimage", "source/kinesis/kinesistest/scene"}

// fused is an instruction of arm64 that multiplies and adds with a single rounding.
var fused = regexp.MustCompile(`\(([^()]*\.go:\d+)\)\tFN?M(ADD|SUB)[SD]\t`)

// TestNothingIsFused: on arm64, as on some other processors, Go may multiply and add with a
// single rounding, x*y + z, also across statements. That gives other results than on amd64.
// A conversion of the product, float64(x*y) + z, prevents it.
func TestNothingIsFused(t *testing.T) {
	watch(t)
	places := fusedIn(t, exact...)
	for _, place := range places {
		t.Errorf("%s is multiplied and added with a single rounding: convert the product to its own type", place)
	}
}

// TestFusedIsFound shows that the test above would find one.
func TestFusedIsFound(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module fused\n\ngo 1.26\n",
		"f.go":   "package fused\n\nfunc F(x, y, z float64) float64 {\n\tp := x * y\n\treturn p - z\n}\n\nfunc G(x, y, z float64) float64 {\n\treturn float64(x*y) - z\n}\n",
	} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	places := fusedIn(t, "")
	if len(places) != 1 || !strings.HasSuffix(places[0], "f.go:5") {
		t.Errorf("found %q, want f.go:5", places)
	}
}

// fusedIn returns the lines of the packages at which there is a fused instruction. Without
// cgo, no compiler for the processor is needed.
func fusedIn(t *testing.T, packages ...string) (places []string) {
	t.Helper()
	args := []string{"build", "-gcflags=-S"}
	for _, p := range packages {
		if p == "" {
			args = append(args, ".")
		} else {
			args = append(args, module+"/"+p)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0", "GOFLAGS=")
	listing, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, listing)
	}
	if !strings.Contains(string(listing), "\tRET\t") {
		t.Fatalf("%v printed no instructions", cmd)
	}
	seen := map[string]bool{}
	for _, m := range fused.FindAllStringSubmatch(string(listing), -1) {
		if !seen[m[1]] {
			seen[m[1]] = true
			places = append(places, m[1])
		}
	}
	return places
}
