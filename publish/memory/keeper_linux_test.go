package memory

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func keep(t *testing.T, dir string) *Keeper {
	t.Helper()
	k, err := Keep(t.Context(), Options{Dir: dir, Bytes: 2 * 3 * page, SlotBytes: tensorBytes, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	if err := k.Look(t.Context()); err != nil {
		t.Fatalf("where all is well: %v", err)
	}
	return k
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// serves checks that readers find what is put into the memory now, and that all is well.
func serves(t *testing.T, k *Keeper, dir string) {
	t.Helper()
	reader := NewReader(dir)
	defer reader.Close()
	if host, err := reader.Host(); err != nil || host != k.Host() {
		t.Errorf("the host is %q, not %q (%v)", host, k.Host(), err)
	}
	hold(t, reader, put(t, k.ring.Load(), 7), 7).Release()
	if err := k.Look(t.Context()); err != nil {
		t.Errorf("after it was mended: %v", err)
	}
}

// TestMended: whatever somebody does to the directory is noticed, said in words, and mended.
func TestMended(t *testing.T) {
	for name, c := range map[string]struct {
		harm   func(t *testing.T, dir, file string)
		want   string
		remade uint64
	}{
		"the directory is removed": {func(t *testing.T, dir, _ string) {
			must(t, os.RemoveAll(dir))
		}, "somebody has removed it", 1},
		"the file is removed": {func(t *testing.T, _, file string) {
			must(t, os.Remove(file))
		}, "somebody has removed it", 1},
		"the file of the readers is removed": {func(t *testing.T, dir, _ string) {
			must(t, os.Remove(filepath.Join(dir, readersFile)))
		}, "somebody has removed it", 1},
		"the directory is replaced": {func(t *testing.T, dir, _ string) {
			must(t, os.Rename(dir, dir+"-before"), os.Mkdir(dir, 0o750))
		}, "another one was put in its place", 1},
		"the directory is replaced by a copy": {func(t *testing.T, dir, _ string) {
			must(t, os.Rename(dir, dir+"-before"), os.CopyFS(dir, os.DirFS(dir+"-before")), os.Chmod(dir, 0o750))
			must(t, os.Chmod(filepath.Join(dir, readersFile), 0o640))
		}, "another one was put in its place", 1},
		"the file is replaced": {func(t *testing.T, _, file string) {
			must(t, os.Remove(file), os.WriteFile(file, []byte(magic), 0o640))
		}, "another one was put in its place", 1},
		"the file is truncated": {func(t *testing.T, _, file string) {
			must(t, os.Truncate(file, page))
		}, "its length was changed", 1},
		"nobody may enter the directory": {func(t *testing.T, dir, _ string) {
			must(t, os.Chmod(dir, 0o700))
		}, "permissions", 0},
		"everybody may write to the directory": {func(t *testing.T, dir, _ string) {
			must(t, os.Chmod(dir, 0o777))
		}, "permissions", 0},
		"nobody may read the file": {func(t *testing.T, dir, file string) {
			must(t, os.Chmod(file, 0o600), os.Chmod(filepath.Join(dir, readersFile), 0o600))
		}, "permissions", 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "memory")
			k := keep(t, dir)
			before := k.ring.Load()
			taken, ok := k.Slot(tensorBytes)
			if !ok {
				t.Fatal("there is no slot")
			}
			c.harm(t, dir, before.file.Name())
			if err := k.Look(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("it is noticed as %v", err)
			}
			if got := k.Stats().Remade; got != c.remade {
				t.Errorf("it was made anew %d times", got)
			}
			if place := taken.Share(subject); (place == "") != (c.remade > 0) {
				t.Errorf("a tensor that was made before is said to be at %q", place)
			}
			taken.Release()
			serves(t, k, dir)
			if err := k.Close(); err != nil {
				t.Errorf("at the end: %v", err)
			}
			if names := filesIn(t, dir); len(names) > 0 && !strings.Contains(name, "copy") && !strings.Contains(name, "file is replaced") {
				t.Errorf("%v are left", names)
			}
		})
	}
}

// TestSeveralMend: feeders that share a directory make it anew together.
func TestSeveralMend(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "memory")
	one, other := keep(t, dir), keep(t, dir)
	must(t, os.RemoveAll(dir))
	for _, k := range []*Keeper{one, other} {
		if err := k.Look(t.Context()); err == nil {
			t.Error("it is not noticed")
		}
	}
	serves(t, one, dir)
	serves(t, other, dir)
	if names := filesIn(t, dir); len(names) != 2 {
		t.Errorf("there are %v", names)
	}
}

// TestNotMended: what cannot be made anew is said for as long as it is so, and tried again.
func TestNotMended(t *testing.T) {
	above := filepath.Join(t.TempDir(), "above")
	must(t, os.Mkdir(above, 0o700))
	dir := filepath.Join(above, "memory")
	synctest.Test(t, func(t *testing.T) {
		k := keep(t, dir)
		must(t, os.RemoveAll(above))
		for range 3 {
			if err := k.Look(t.Context()); err == nil || !strings.Contains(err.Error(), "somebody has removed it") {
				t.Errorf("%v", err)
			}
			if _, ok := k.Slot(1); ok {
				t.Error("there is a slot that nobody finds")
			}
			time.Sleep(time.Second)
		}
		must(t, os.Mkdir(above, 0o700))
		if err := k.Look(t.Context()); err == nil || k.Stats().Remade > 0 {
			t.Errorf("it is tried at once: %v", err)
		}
		time.Sleep(remakeWait)
		if err := k.Look(t.Context()); err == nil || k.Stats().Remade != 1 {
			t.Errorf("%v", err)
		}
		serves(t, k, dir)
		must(t, k.Close())
	})
}

// TestFullFileSystem runs in a namespace with a memory file system of its own: what was allocated
// can be written to when it is full, pages that somebody gave up are had again or the memory is
// given up, and what was removed is made anew when there is room again.
func TestFullFileSystem(t *testing.T) {
	if os.Getenv("MEMORY_FULL") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFullFileSystem$", "-test.v")
		cmd.Env = append(os.Environ(), "MEMORY_FULL=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, fs.ErrPermission) || strings.Contains(string(out), "SKIP") {
			t.Skipf("this machine allows no namespaces: %v", err)
		}
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	root := t.TempDir()
	if err := syscall.Mount("memory", root, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(root, syscall.MNT_DETACH)) })
	dir := filepath.Join(root, "memory")
	k := keep(t, dir)
	fill := filepath.Join(root, "fill")
	full := func() { _ = os.WriteFile(fill, make([]byte, 2<<20), 0o600) } // it fails, full
	full()
	if _, err := Open(t.Context(), Options{Dir: dir, Bytes: 60 * page, SlotBytes: page}); err == nil || !strings.Contains(err.Error(), "no room") && !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a second feeder on a full file system: %v", err)
	}
	serves(t, k, dir)

	const keepSize, punchHole = 1, 2
	ring := k.ring.Load()
	punch := func() {
		must(t, syscall.Fallocate(int(ring.file.Fd()), keepSize|punchHole, ring.place.data, page))
	}
	must(t, os.Remove(fill))
	punch()
	if err := k.Look(t.Context()); err == nil || !strings.Contains(err.Error(), "were given up") || k.Stats().Remade > 0 {
		t.Errorf("pages that somebody gave up: %v", err)
	}
	serves(t, k, dir)
	punch()
	full()
	if err := k.Look(t.Context()); !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "cannot be had again") {
		t.Errorf("pages that somebody gave up on a full file system: %v", err)
	}
	if k.Stats().Remade == 0 { // its own pages were room enough, or not
		if _, ok := k.Slot(1); ok {
			t.Error("there is a slot whose pages are not there")
		}
		must(t, os.Remove(fill))
		k.tried = time.Time{}
		_ = k.Look(t.Context())
	}
	serves(t, k, dir)
}

// TestWritable: with Options.Writable, the group may write, and the file has a second name, which goes
// with it, and is made anew like the first.
func TestWritable(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	above := t.TempDir()
	o := Options{Dir: filepath.Join(above, "memory"), Bytes: 2 * 3 * page, SlotBytes: tensorBytes, Writable: true}
	must(t, os.WriteFile(filepath.Join(above, "cvf-dead.mem"), []byte(magic), 0o600))
	k, err := Keep(t.Context(), o)
	must(t, err)
	same := func() {
		t.Helper()
		names := filesIn(t, above)
		if len(names) != 1 || filesIn(t, o.Dir)[0] != names[0] {
			t.Fatalf("there are %v", names)
		}
		one, err := os.Stat(filepath.Join(above, names[0]))
		must(t, err)
		other, err := os.Stat(filepath.Join(o.Dir, names[0]))
		if must(t, err); !os.SameFile(one, other) || one.Mode() != writableMode {
			t.Errorf("the mode is %v, the same file %v", one.Mode(), os.SameFile(one, other))
		}
	}
	same()
	serves(t, k, o.Dir)
	must(t, os.Remove(filepath.Join(above, filesIn(t, above)[0])))
	if err := k.Look(t.Context()); !errors.Is(err, ErrGone) {
		t.Errorf("without the second name: %v", err)
	}
	same()
	serves(t, k, o.Dir)
	must(t, k.Close())
	if names := append(filesIn(t, above), filesIn(t, o.Dir)...); len(names) > 0 {
		t.Errorf("%v are left", names)
	}
}
