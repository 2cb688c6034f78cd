package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

// The clock of a process is the host's, which a test must not set. So these tests build a
// cvfeeder whose Go runtime adds a number of seconds to the wall clock: those in a file. The
// time that timers go by is left alone, as it is when somebody sets a clock.
const (
	offsetRuntime = `//go:build !faketime

package runtime

import (
	"internal/runtime/atomic"
	_ "unsafe"
)

var wallOffset int64

func hostNow() (sec int64, nsec int32, mono int64)

//go:linkname setWallOffset main.setWallOffset
func setWallOffset(seconds int64) { atomic.Storeint64(&wallOffset, seconds) }

//go:linkname time_now time.now
func time_now() (sec int64, nsec int32, mono int64) {
	sec, nsec, mono = hostNow()
	return sec + atomic.Loadint64(&wallOffset), nsec, mono
}
`
	offsetMain = `package main

import (
	"os"
	"strconv"
	"time"
	_ "unsafe"
)

//go:linkname setWallOffset
func setWallOffset(seconds int64)

func init() {
	go func() {
		for {
			if text, err := os.ReadFile(os.Getenv("CVFEEDER_TEST_CLOCK")); err == nil {
				if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
					setWallOffset(n)
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
}
`
)

var clockBuild struct {
	sync.Once
	dir, program, cannot string
}

// clockVariable names the file with the seconds that a clock is ahead.
const clockVariable = "CVFEEDER_TEST_CLOCK"

// prepareClock has the feeders run with a clock of their own.
func prepareClock(y *yard) {
	if y.program = programWithClock(y.t); y.program == "" {
		y.cannot = clockBuild.cannot
		return
	}
	y.env = append(y.env, clockVariable+"="+y.write("clock", "0"))
}

// programWithClock returns the program with a clock of its own, or "".
func programWithClock(t *testing.T) string {
	clockBuild.Do(func() { clockBuild.program, clockBuild.cannot = buildWithClock(t) })
	return clockBuild.program
}

// buildWithClock builds the program in a directory that stays until the tests have ended,
// or tells why it cannot.
func buildWithClock(t *testing.T) (program, cannot string) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", "a process can have a clock of its own on linux/amd64 only"
	}
	var err error
	if clockBuild.dir, err = os.MkdirTemp("", "cvfeeder-clock"); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		return natstest.WriteFile(t, filepath.Join(clockBuild.dir, name), []byte(text))
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", "there is no Go"
	}
	in := func(name string) string {
		return filepath.Join(strings.TrimSpace(string(root)), "src", "runtime", name)
	}
	asm, err := os.ReadFile(in("time_linux_amd64.s"))
	const entry = "TEXT time·now<ABIInternal>"
	if err != nil || !strings.Contains(string(asm), entry) {
		return "", "this version of Go has its clock elsewhere"
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		in("time_linux_amd64.s"):             write("time.s", strings.Replace(string(asm), entry, "TEXT ·hostNow<ABIInternal>", 1)),
		in("timeasm.go"):                     write("timeasm.go", "package runtime\n"),
		in("timestub.go"):                    write("timestub.go", offsetRuntime),
		filepath.Join(here, "testsclock.go"): write("clock.go", offsetMain),
	}})
	if err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(clockBuild.dir, "cvfeeder")
	build := exec.Command("go", "build", "-overlay", write("overlay.json", string(overlay)), "-tags", "gocv_specific_modules", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Logf("%v: %v\n%s", build, err, out)
		return "", fmt.Sprintf("the program with a clock of its own cannot be built: %v", err)
	}
	return program, ""
}
