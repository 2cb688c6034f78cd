package checkpoint

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

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

// TestNoFiles: what only looks like a file is refused at once, and not touched.
func TestNoFiles(t *testing.T) {
	for kind, place := range map[string]func(path string) error{
		"a pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"a device":    func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		for _, name := range []string{fileName, lockName} {
			dir := t.TempDir()
			path := filepath.Join(dir, name)
			if err := place(path); err != nil {
				t.Fatal(err)
			}
			opened := background(func() error {
				s, err := Open(dir)
				if err == nil {
					_ = s.Close()
				}
				return err
			})
			select {
			case err := <-opened:
				if err == nil || !strings.Contains(err.Error(), path) {
					t.Errorf("%s as %s: %v", kind, name, err)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%s as %s: it hangs", kind, name)
			}
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("%s as %s was touched: %v", kind, name, err)
			}
		}
	}
}

// background calls f in a goroutine, because it may hang.
func background(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// TestCursorsOutOfRange: a file with a cursor that cannot be one is set aside.
func TestCursorsOutOfRange(t *testing.T) {
	for _, cursor := range []string{"9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00Z", "2200-01-01T00:00:00Z", "x"} {
		dir := t.TempDir()
		raw := `{"a":"` + cursor + `"}`
		text := fmt.Sprintf(`{"version":1,"sum":%q,"cursors":%s}`, sum([]byte(raw)), raw)
		if err := os.WriteFile(filepath.Join(dir, fileName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir)
		if got, ok := s.Load("a"); ok || s.Damaged() == "" {
			t.Errorf("%s was taken for %v", cursor, got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	good, err := encode(map[string]source.Slot{"a": 1767322445200})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, true)
	f.Add([]byte(`{"a":"9999-12-31T23:59:59-12:00","b":1}`), false)
	f.Fuzz(func(t *testing.T, data []byte, whole bool) {
		if !whole { // only the cursors, with the right sum
			data = fmt.Appendf(nil, `{"version":1,"sum":%q,"cursors":%s}`, sum(data), data)
		}
		cursors, err := decode(data)
		if err != nil {
			return
		}
		again, err := encode(cursors)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decode(again); err != nil || !maps.Equal(back, cursors) {
			t.Errorf("%v, and again %v, %v", cursors, back, err)
		}
	})
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
