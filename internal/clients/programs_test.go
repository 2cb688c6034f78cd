package clients

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// TestCppExample compiles and runs examples/consume-cpp.
func TestCppExample(t *testing.T) {
	if err := exec.CommandContext(t.Context(), "pkg-config", "--exists", "libnats").Run(); err != nil {
		t.Skip("needs NATS's library for C: .ci/deps.sh test installs libnats-dev")
	}
	const dir = "../../examples/consume-cpp"
	watch(t, dir)
	program := filepath.Join(t.TempDir(), "consume")
	// The sanitizer ends it if it reads a number at an address that is not aligned.
	run(t, dir, "g++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined", "-fno-sanitize-recover=all",
		"main.cpp", "-lnats", "-o", program)
	runExample(t, program)
}

// TestRustExample compiles and runs examples/consume-rust.
func TestRustExample(t *testing.T) {
	target := os.Getenv("CVFEEDER_RUST_TARGET")
	if target == "" {
		t.Skip("CVFEEDER_RUST_TARGET does not name a folder for cargo: `make rust` does, where Rust is installed")
	}
	const dir = "../../examples/consume-rust"
	watch(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "cargo", "build", "--locked", "--target-dir", target)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	runExample(t, filepath.Join(target, "debug", "consume-rust"))
}

// runExample lets a program read tensors of all types, a gap, and messages that are wrong,
// until it has read a tensor of each camera.
func runExample(t *testing.T, program string) {
	t.Helper()
	srv := natstest.Serve(t, embedded.Options{})
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, program, srv.ClientURL(), "cvf.t.*.detector", "3")
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, "the program listens", func() bool {
		// A request that somebody gets has no answer; one that nobody gets is refused at once.
		_, err := nc.Request("cvf.t.nobody.detector", []byte("?"), 100*time.Millisecond)
		return errors.Is(err, nats.ErrTimeout)
	})
	good := []publish.Message{example("cam-1", transform.Float32), example("cam-22", transform.Float16), example("cam-333", transform.Uint8)}
	short, other := example("short", transform.Float32), example("other", transform.Float32)
	short.Data = short.Data[1:]
	other.Header[publish.HeaderVersion] = []string{"2"}
	gap := publish.NewInlineGap("cvf.t.gap.detector", publish.Gap{Stream: "gap", From: 200, To: 400, Slots: 2, Reason: "no_media"},
		&transform.Output{Name: "detector", Fingerprint: "3f2a"})
	for _, m := range slices.Concat([]publish.Message{short, other, gap}, good) {
		if err := nc.PublishMsg(&nats.Msg{Subject: m.Subject, Header: nats.Header(m.Header), Data: m.Data}); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd, err, &out, &problems)
	}
	for _, want := range []string{"cam-1 2026-01-02T03:04:05.200Z", "cam-22 ", "cam-333 "} {
		if !hasLine(out.String(), want, " sum 21 corner 29 -360") {
			t.Errorf("it does not print a line with %s and the right numbers:\n%s%s", want, &out, &problems)
		}
	}
	if !strings.Contains(problems.String(), "cvf.t.short.detector: 23 bytes are not") || !strings.Contains(problems.String(), "cvf.t.other.detector: not the version 1") {
		t.Errorf("it does not tell what is wrong:\n%s", &problems)
	}
}

func hasLine(text, prefix, suffix string) bool {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) && strings.HasSuffix(strings.TrimSpace(line), suffix) {
			return true
		}
	}
	return false
}

// example returns a tensor of two pixels, with the elements 1 to 6.
func example(stream string, dtype transform.DType) publish.Message {
	r := tensors{
		Stream: stream, Output: "detector", Width: 2, Height: 1, DType: dtype, Layout: transform.NCHW,
		Color: transform.RGB, Affine: transform.Affine{3, 0, -1, 0, 3, -420}, Std: [3]float64{1, 1, 1}, Fingerprint: "3f2a",
	}
	tensor := r.tensor(source.Slot(1767323045200))
	tensor.Data = map[transform.DType][]byte{
		transform.Uint8:   {1, 2, 3, 4, 5, 6},
		transform.Float32: {0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64, 0, 0, 128, 64, 0, 0, 160, 64, 0, 0, 192, 64},
		transform.Float16: {0, 60, 0, 64, 0, 66, 0, 68, 0, 69, 0, 70},
	}[dtype]
	return publish.NewMessage("cvf.t."+stream+".detector", tensor)
}
