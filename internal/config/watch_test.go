package config

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWatchedFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "cvfeeder.yaml")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(path, "a")
	w := watch(path, []byte("a"))
	looks := func(what string, want ...string) {
		t.Helper()
		for i, text := range want {
			got, changed, err := w.Changed()
			if string(got) != text || changed != (text != "") || err != nil {
				t.Errorf("%s: look %d found %q, %v, %v, want %q", what, i+1, got, changed, err, text)
			}
		}
	}
	looks("as it was", "", "")
	write(path, "bb")
	looks("written", "", "bb", "", "")
	write(path, "c")
	looks("half written", "")
	write(path, "ccc")
	looks("and then wholly", "", "ccc", "")
	write(path, "d")
	looks("for a moment", "")
	write(path, "ccc")
	looks("as before", "", "", "")

	write(path+".new", "e")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	looks("renamed", "", "e", "")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	looks("gone for a moment", "")
	write(path, "e")
	looks("back", "", "")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for look, want := range []bool{false, true, false, false} {
		if _, changed, err := w.Changed(); changed || (err != nil) != want {
			t.Errorf("gone: look %d found %v, %v", look+1, changed, err)
		}
	}
	write(path, "e")
	looks("back after a while", "", "e", "")

	write(path, "f")
	if text, err := w.Read(); string(text) != "f" || err != nil {
		t.Errorf("read %q, %v", text, err)
	}
	looks("read already", "", "")
}

// TestWatchedConfigMap replaces a file as Kubernetes does with a mounted config map:
// it is a link into ..data, which is a link that is swapped.
func TestWatchedConfigMap(t *testing.T) {
	dir := t.TempDir()
	version := func(name, text string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "cvfeeder.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(name, filepath.Join(dir, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", "a")
	path := filepath.Join(dir, "cvfeeder.yaml")
	if err := os.Symlink("..data/cvfeeder.yaml", path); err != nil {
		t.Fatal(err)
	}
	w := watch(path, []byte("a"))
	if _, changed, err := w.Changed(); changed || err != nil {
		t.Error("changed at first")
	}
	version("..2", "b")
	_, _, _ = w.Changed()
	if text, changed, err := w.Changed(); !changed || string(text) != "b" || err != nil {
		t.Errorf("after the swap: %q, %v", text, changed)
	}
}
