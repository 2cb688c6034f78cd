package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
)

// TestHangup: the program itself reads its file again at SIGHUP, reached by the links
// of a config map.
func TestHangup(t *testing.T) {
	feedertest.Long(t, "runs the program")
	t.Parallel()
	s := newStopping(t, config.ModeLive)
	text, err := os.ReadFile(s.direct)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	version := func(name, text string) {
		t.Helper()
		if err := errors.Join(
			os.Mkdir(filepath.Join(dir, name), 0o700),
			os.WriteFile(filepath.Join(dir, name, "cvfeeder.yaml"), []byte(text), 0o600),
			os.Symlink(name, filepath.Join(dir, "..tmp")),
			os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")),
		); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", string(text))
	file := filepath.Join(dir, "cvfeeder.yaml")
	if err := os.Symlink("..data/cvfeeder.yaml", file); err != nil {
		t.Fatal(err)
	}
	s.run(t, file)
	sub := feedertest.Subscribe(t, s.NATSURL, "cvf.t.cam-2.other")
	changed := strings.Replace(string(text), "400ms, outputs: [small]", "400ms, outputs: [small, other]", 1)
	version("..2", strings.Replace(changed, "outputs:\n", "outputs:\n  other: {preset: yolo, size: 16x16, dtype: uint8}\n", 1))
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.Next(t.Context()); err != nil {
		t.Error(err)
	}
	if took := s.terminate(t); took > 10*time.Second || s.err != nil || strings.Count(s.out.String(), "read again") != 1 {
		t.Errorf("it took %v, and ended with %v\n%s", took, s.err, s.out)
	}
}
