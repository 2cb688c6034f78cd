package checkpoint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCursors(t *testing.T) {
	sourcetest.TestCursors(t, func(t *testing.T) func() source.Cursors {
		dir := t.TempDir()
		var s *Store
		t.Cleanup(func() { _ = s.Close() })
		return func() source.Cursors {
			if s != nil { // as a crash does
				_ = s.lock.Close()
			}
			s = open(t, dir)
			return s
		}
	})
}

func TestCursorsSurvive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "deep")
	s := open(t, dir)
	if _, ok := s.Load("a"); ok {
		t.Error("an empty store has a cursor")
	}
	s.Set("a", 1767322445200)
	s.Set("b/@2026", 400)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Set("a", 1767322445400)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer func() { _ = s.Close() }()
	for key, want := range map[string]source.Slot{"a": 1767322445400, "b/@2026": 400} {
		if got, ok := s.Load(key); !ok || got != want {
			t.Errorf("%s: %v, %v, want %v", key, got, ok, want)
		}
	}
	if s.Damaged() != "" {
		t.Error(s.Damaged())
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.new-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "another process") || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second store: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir).Close(); err != nil {
		t.Error(err)
	}
}

// TestDamagedFileIsSetAside flips a bit in each byte of a good file, cuts it at every
// length, and replaces it with other content.
func TestDamagedFileIsSetAside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	s.Set("front-door", 1767322445200)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, fileName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var bad [][]byte
	for i := range good {
		flipped := append([]byte(nil), good...)
		flipped[i] ^= 1
		bad = append(bad, flipped, good[:i])
	}
	bad = append(bad, []byte("null"), []byte("[]"), []byte(`{"version":9}`), make([]byte, 4096))
	for _, data := range bad {
		cursors, err := decode(data)
		if err == nil && cursors["front-door"] != 1767322445200 {
			t.Errorf("%q was taken for %v", data, cursors)
		}
	}
	if err := os.WriteFile(path, good[:len(good)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer func() { _ = s.Close() }()
	if _, ok := s.Load("front-door"); ok || !strings.Contains(s.Damaged(), path) {
		t.Errorf("a damaged file was trusted: %q", s.Damaged())
	}
	aside, err := filepath.Glob(path + ".damaged-*")
	if err != nil || len(aside) != 1 {
		t.Errorf("set aside: %v, %v", aside, err)
	}
}

func TestUnwritableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); err == nil || !strings.Contains(err.Error(), "state directory") {
		t.Errorf("Open of a file: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "gone")
	s := open(t, dir)
	s.Set("a", 200)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("Flush into a directory that is gone: %v", err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("what could not be written was not tried again: %v", err)
	}
	if got, ok := open(t, dir).Load("a"); !ok || got != 200 {
		t.Errorf("after the directory came back: %v, %v", got, ok)
	}
}
