package baseline

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// usage is what a process and its children used.
type usage struct {
	cpu, system, wall time.Duration
	memory            int64 // the most resident memory in bytes
	said              string
}

// role is an environment variable that makes the test binary another program: launcher
// runs a command and prints its usage, fake is the fake service, and goReader reads tensors.
const (
	role     = "CVFEEDER_BENCH_ROLE"
	launcher = "launcher"
	fake     = "fake"
	goReader = "consumer"
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(role) {
	case launcher:
		err = launch(os.Args[1:])
	case fake:
		err = serve()
	case goReader:
		err = consumeGo(os.Args[1:])
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// measure runs a command. Between fork and exec a process has its parent's memory, which
// Linux counts as its own. So the parent is the small launcher, not this process.
func measure(ctx context.Context, command []string) (usage, error) {
	self, err := os.Executable()
	if err != nil {
		return usage{}, err
	}
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, self, command...)
	cmd.Env = append(os.Environ(), role+"="+launcher)
	cmd.Stdout, cmd.Stderr = &out, &said
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		return usage{}, fmt.Errorf("%w\n%s", err, said.String())
	}
	var r syscall.Rusage
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return usage{}, err
	}
	system := time.Duration(r.Stime.Nano())
	return usage{time.Duration(r.Utime.Nano()) + system, system, time.Since(begin), r.Maxrss << 10, said.String()}, nil
}

// launch runs a command, and prints the usage that the system counted.
func launch(command []string) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(cmd.ProcessState.SysUsage())
}

// build builds a program in the way that its users do.
func build(b *testing.B, program, pkg string) string {
	b.Helper()
	out, err := exec.CommandContext(b.Context(), "go", "build", "-tags", "gocv_specific_modules",
		"-o", program, pkg).CombinedOutput()
	if err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// startNATS starts a NATS server as a process of its own, and returns its URL.
func startNATS(b *testing.B, dir string) string {
	b.Helper()
	return startServer(b, dir, natsConfig).url
}

// started starts a server, and returns what it says by the pattern. The server is
// interrupted at the end.
func started(b *testing.B, cmd *exec.Cmd, output io.Reader, pattern *regexp.Regexp) string {
	b.Helper()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	found, drained := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(drained)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			if m := pattern.FindStringSubmatch(lines.Text()); m != nil && len(found) == 0 {
				found <- m[1]
			}
		}
	}()
	b.Cleanup(func() {
		err := cmd.Process.Signal(os.Interrupt)
		<-drained
		if err := errors.Join(err, cmd.Wait()); err != nil {
			b.Errorf("%v: %v", cmd, err)
		}
		b.Logf("%s took %v of CPU", filepath.Base(cmd.Path), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	})
	select {
	case s := <-found:
		return s
	case <-drained:
	case <-time.After(time.Minute):
	}
	b.Fatalf("%v did not start", cmd)
	return ""
}
