package deploytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestVulnerabilitiesAreLookedUp runs .ci/vuln.sh with stand-ins for the programs that it
// runs.
func TestVulnerabilitiesAreLookedUp(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go"), 0o700, "#!/bin/sh\necho \"go $*\"\nexit 3\n")
	write(t, filepath.Join(dir, "osv-scanner"), 0o700, "#!/bin/sh\n")
	database := filepath.Join(dir, "database")
	if err := os.MkdirAll(filepath.Join(database, "index"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(database, "index/db.json"), 0o600, "{}")
	for _, tt := range []struct {
		name, database, required string
		fails                    bool
		says                     string
	}{
		{"no database", dir + "/absent", "", false, "SKIPPED: govulncheck has not run, because file://" + dir + "/absent is not there"},
		{"no database, and it is required", dir + "/absent", "1", true, "SKIPPED: govulncheck"},
		{"vulnerabilities", database, "", true, "-db file://" + database + " -tags some_tag ./..."},
	} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(top, ".ci/vuln.sh"), "some_tag")
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "GOVULNDB=file://"+tt.database, "VULN_REQUIRED="+tt.required)
		out, err := cmd.CombinedOutput()
		if (err != nil) != tt.fails || !strings.Contains(string(out), tt.says) {
			t.Errorf("%s: %v, output %s", tt.name, err, out)
		}
	}
}
