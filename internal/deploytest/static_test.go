package deploytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReleasesAreStatic: a program that needs a library of the system is not released. The
// compiler is one that hands out a program that exists already.
func TestReleasesAreStatic(t *testing.T) {
	if _, err := exec.LookPath("readelf"); err != nil {
		t.Skip("readelf is not installed")
	}
	dir := t.TempDir()
	static, dynamic := filepath.Join(dir, "static"), "/bin/sh"
	write(t, filepath.Join(dir, "main.go"), 0o600, "package main\n\nfunc main() {}\n")
	t.Setenv("CGO_ENABLED", "0")
	command(t, nil, "go", "build", "-o", static, filepath.Join(dir, "main.go"))
	write(t, filepath.Join(dir, "go"), 0o700, "#!/bin/sh\n"+`while [ "$1" != -o ]; do shift; done; cp "$PROGRAM" "$2"`+"\n")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for program, want := range map[string]string{static: "", dynamic: "is not linked statically"} {
		t.Setenv("PROGRAM", program)
		out, err := exec.CommandContext(t.Context(), filepath.Join(top, ".ci/static.sh"), "arm64", dir, filepath.Join(dir, "cvfeeder"), "v1").CombinedOutput()
		if (err != nil) != (want != "") || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, want %q\n%s", program, err, want, out)
		}
	}
}
