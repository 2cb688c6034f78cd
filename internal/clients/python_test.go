package clients

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const python = "../../clients/python"

// TestPythonClient needs a Python with the packages in
// clients/python/requirements-test.txt.
func TestPythonClient(t *testing.T) {
	program := os.Getenv("CVFEEDER_PYTHON")
	if program == "" {
		t.Skip("CVFEEDER_PYTHON does not name a Python with the client's requirements: `make test` makes one")
	}
	watch(t, python)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider")
	cmd.Dir = python
	passed := filepath.Join(t.TempDir(), "passed")
	_, env := serve(ctx, t)
	cmd.Env = append(env, "CVFEEDER_PASSED="+passed, "CVFEEDER_RANGES="+serveRanges(t))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("%v: %v\n%s", cmd, err, &out)
		return
	}
	t.Logf("%s", &out)
	checkConformance(t, "Python", passed)
}
