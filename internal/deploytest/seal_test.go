package deploytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReleaseIsSealed seals a release with a key, and verifies it as docs/deployment.md
// says.
func TestReleaseIsSealed(t *testing.T) {
	if _, err := exec.LookPath("minisign"); err != nil {
		t.Skip("minisign is not installed: `make test` installs it")
	}
	dist, keys := t.TempDir(), t.TempDir()
	public, secret := filepath.Join(keys, "public"), filepath.Join(keys, "secret")
	command(t, nil, "minisign", "-G", "-W", "-p", public, "-s", secret)
	t.Setenv("MINISIGN_KEY", secret)
	t.Setenv("COSIGN_KEY", "")
	write(t, filepath.Join(dist, "cvfeeder-v1.tar.gz"), 0o600, "an archive")
	write(t, filepath.Join(dist, "SHA256SUMS.minisig"), 0o600, "of the release before")
	command(t, nil, filepath.Join(top, ".ci/seal.sh"), "v1", dist, "cvfeeder-v1.tar.gz")

	verify := func(name string, args ...string) error {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dist
		return cmd.Run()
	}
	signature := []string{"-V", "-p", public, "-m", "SHA256SUMS"}
	sums := []string{"--check", "--strict", "SHA256SUMS"}
	if err := verify("minisign", signature...); err != nil {
		t.Errorf("the signature: %v", err)
	}
	if err := verify("sha256sum", sums...); err != nil {
		t.Errorf("the checksums: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	// Without a commit that is what was built there is no provenance.
	names := []string{"cvfeeder-v1.tar.gz"}
	if _, err := os.Stat(filepath.Join(dist, "cvfeeder-v1.intoto.json")); err == nil {
		names = append(names, "cvfeeder-v1.intoto.json")
	}
	for _, name := range names {
		if !strings.Contains(string(text), "  "+name+"\n") {
			t.Errorf("SHA256SUMS has no %s:\n%s", name, text)
		}
	}
	write(t, filepath.Join(dist, "cvfeeder-v1.tar.gz"), 0o600, "another archive")
	if verify("sha256sum", sums...) == nil {
		t.Error("another archive has the same checksum")
	}
	write(t, filepath.Join(dist, "SHA256SUMS"), 0o600, string(text)+"\n")
	if verify("minisign", signature...) == nil {
		t.Error("the signature fits other checksums")
	}
}
