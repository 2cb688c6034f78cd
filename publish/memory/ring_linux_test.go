package memory

import (
	"bytes"
	"errors"
	"image"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/transform"
)

const tensorBytes = 10_000 // of three pages

func openRing(t *testing.T, slots int64) (*Ring, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "memory")
	return openIn(t, dir, slots), dir
}

func openIn(t *testing.T, dir string, slots int64) *Ring {
	t.Helper()
	r, err := Open(t.Context(), Options{Dir: dir, Bytes: slots * 3 * page, SlotBytes: tensorBytes, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// put shares a tensor that is full of b.
func put(t *testing.T, r *Ring, b byte) Place {
	t.Helper()
	s, ok := r.Slot(tensorBytes)
	if !ok {
		t.Fatal("there is no slot")
	}
	data := s.Data()
	for i := range data {
		data[i] = b
	}
	p, err := ParsePlace(s.Share("cvf.t.cam-1.detector"))
	if err != nil {
		t.Fatal(err)
	}
	s.Release()
	return p
}

func hold(t *testing.T, r *Reader, p Place, b byte) *Hold {
	t.Helper()
	h, err := r.Hold(p)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(h.Data, bytes.Repeat([]byte{b}, tensorBytes)) {
		t.Fatalf("tensor %d holds something else", b)
	}
	return h
}

// TestGrace: a tensor that somebody expects stays for some time, and one that nobody expects or was
// told of does not.
func TestGrace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "memory")
	synctest.Test(t, func(t *testing.T) {
		ring, err := Open(t.Context(), Options{Dir: dir, Bytes: 2 * 3 * page, SlotBytes: tensorBytes})
		if err != nil {
			t.Fatal(err)
		}
		defer ring.Close()
		reader := NewReader(dir)
		defer reader.Close()
		for b := range byte(3) {
			put(t, ring, b) // which nobody expects
		}
		time.Sleep(DefaultGrace)
		awaited := await(t, reader, "cvf.t.>")
		first := put(t, ring, 1)
		for range 3 {
			s, ok := ring.Slot(tensorBytes)
			if !ok {
				t.Fatal("a slot that nobody was told of is not used again")
			}
			s.Release()
		}
		time.Sleep(DefaultGrace / 2)
		second := put(t, ring, 2)
		if _, ok := ring.Slot(tensorBytes); ok || ring.Stats().None != 1 {
			t.Error("a tensor is overwritten at once")
		}
		hold(t, reader, first, 1).Release()
		time.Sleep(DefaultGrace / 2)
		put(t, ring, 3)
		if _, err := reader.Hold(first); !errors.Is(err, ErrOverwritten) {
			t.Errorf("after the grace: %v", err)
		}
		hold(t, reader, second, 2).Release()
		awaited.Close()
		for b := range byte(3) {
			put(t, ring, b)
		}
	})
}

// TestHandOver: what is held stays, what is not is overwritten in the order in which it was
// made, and readers notice.
func TestHandOver(t *testing.T) {
	ring, dir := openRing(t, 4)
	reader, other := NewReader(dir), NewReader(dir)
	defer reader.Close()
	defer other.Close()
	if host, err := reader.Host(); err != nil || host != ring.Host() {
		t.Fatalf("the host is %q, not %q (%v)", host, ring.Host(), err)
	}
	first, second := put(t, ring, 1), put(t, ring, 2)
	held := hold(t, reader, first, 1)
	again := hold(t, reader, first, 1)
	others := hold(t, other, first, 1)
	if got := ring.Stats(); got != (Stats{Slots: 4, Held: 1}) {
		t.Errorf("%+v", got)
	}
	for b := byte(3); b < 12; b++ {
		p := put(t, ring, b)
		hold(t, reader, p, b).Release()
	}
	if _, err := reader.Hold(second); !errors.Is(err, ErrOverwritten) || Reason(err) != ReasonOverwritten {
		t.Errorf("what was overwritten: %v", err)
	}
	held.Release()
	held.Release()
	others.Release()
	for b := byte(12); b < 20; b++ {
		put(t, ring, b)
	}
	if !bytes.Equal(again.Data, bytes.Repeat([]byte{1}, tensorBytes)) {
		t.Error("a tensor was overwritten that is held, because another hold of it has ended")
	}
	again.Release()
	put(t, ring, 20) // the slot that has waited longest is that one
	if _, err := reader.Hold(first); !errors.Is(err, ErrOverwritten) {
		t.Errorf("a tensor that nobody holds any more: %v", err)
	}
	if got := ring.Stats(); got != (Stats{Slots: 4}) {
		t.Errorf("%+v", got)
	}
}

// TestAllHeld: nothing is overwritten, and there is no slot until somebody lets go.
func TestAllHeld(t *testing.T) {
	ring, dir := openRing(t, 3)
	reader := NewReader(dir)
	defer reader.Close()
	var holds []*Hold
	for b := range byte(3) {
		holds = append(holds, hold(t, reader, put(t, ring, b), b))
	}
	if _, ok := ring.Slot(tensorBytes); ok {
		t.Fatal("there is a slot although all are held")
	}
	if got := ring.Stats(); got != (Stats{Slots: 3, Held: 3, None: 1}) {
		t.Errorf("%+v", got)
	}
	holds[1].Release()
	hold(t, reader, put(t, ring, 9), 9).Release()
}

// TestUnfinished: a tensor that is being made, or was never shared, is not read.
func TestUnfinished(t *testing.T) {
	ring, dir := openRing(t, 1)
	reader := NewReader(dir)
	defer reader.Close()
	old := put(t, ring, 1)
	s, _ := ring.Slot(tensorBytes)
	now := old
	now.Generation++
	for _, p := range []Place{old, now} {
		if _, err := reader.Hold(p); !errors.Is(err, ErrOverwritten) {
			t.Errorf("generation %d while the next tensor is made: %v", p.Generation, err)
		}
	}
	s.Release()
	for _, p := range []Place{old, now} {
		if _, err := reader.Hold(p); !errors.Is(err, ErrOverwritten) {
			t.Errorf("generation %d after it was given up: %v", p.Generation, err)
		}
	}
	hold(t, reader, put(t, ring, 2), 2).Release()
}

// TestLengths: each tensor is as long as it is, and one that is too long has no slot.
func TestLengths(t *testing.T) {
	ring, dir := openRing(t, 2)
	reader := NewReader(dir)
	defer reader.Close()
	s, ok := ring.Slot(7)
	if !ok || len(s.Data()) != 7 || cap(s.Data()) != 7 {
		t.Fatalf("%d bytes (%v)", len(s.Data()), ok)
	}
	p, err := ParsePlace(s.Share("cvf.t.cam-1.detector"))
	if err != nil || p.Length != 7 || p.Offset%64 != 0 {
		t.Errorf("%+v (%v)", p, err)
	}
	s.Release()
	longer := p
	longer.Length = 8
	if _, err := reader.Hold(longer); !errors.Is(err, ErrOverwritten) {
		t.Errorf("a longer tensor than there is: %v", err)
	}
	if _, ok := ring.Slot(3*page + 1); ok {
		t.Error("there is a slot for more bytes than it has")
	}
}

// TestBuffers: tensors lie in slots while there are some, and keep their padding.
func TestBuffers(t *testing.T) {
	ring, _ := openRing(t, 1)
	b := transform.Buffers{Shared: ring}
	padding := transform.Padding{Picture: image.Rect(0, 1, 2, 3)}
	one, padded := b.Tensor(tensorBytes, padding)
	if padded || one.Share() == nil {
		t.Errorf("the first tensor: padded %v, shared %v", padded, one.Share() != nil)
	}
	two, _ := b.Tensor(tensorBytes, padding)
	if two.Share() != nil || len(two.Data) != tensorBytes {
		t.Error("a tensor without a slot is shared")
	}
	one.Release()
	one.Release()
	if one.Share() != nil {
		t.Error("a tensor that was released is shared")
	}
	again, padded := b.Tensor(tensorBytes, padding)
	if !padded || again.Share() == nil {
		t.Errorf("the same padding again: padded %v, shared %v", padded, again.Share() != nil)
	}
	again.Release()
	other, padded := b.Tensor(tensorBytes-1, padding)
	if padded {
		t.Error("a tensor of another length is taken to have its padding")
	}
	other.Release()
	forgotten, _ := b.Tensor(tensorBytes, padding)
	if forgotten.Share() == nil {
		t.Fatal("there is no slot")
	}
	forgotten = nil
	for limit := time.After(10 * time.Second); ring.Stats().Taken > 0; {
		runtime.GC()
		select {
		case <-limit:
			t.Fatal("a tensor that nobody released keeps its slot")
		default:
		}
	}
	_ = forgotten
}

// TestFiles: what is not a feeder's file, or not the same any more, is an error.
func TestFiles(t *testing.T) {
	ring, dir := openRing(t, 2)
	p := put(t, ring, 1)
	path := filepath.Join(dir, p.File)
	unreachable := func(what string, p Place) {
		t.Helper()
		r := NewReader(dir)
		defer r.Close()
		if _, err := r.Hold(p); !errors.Is(err, ErrUnreachable) || Reason(err) != ReasonUnreachable {
			t.Errorf("%s: %v", what, err)
		}
	}
	at := func(file string) Place {
		return Place{File: file, Offset: p.Offset, Length: p.Length, Generation: p.Generation}
	}
	unreachable("a file that is not there", at("cvf-0.mem"))
	unreachable("a file outside", at("../host"))
	outside := p
	outside.Offset += 64
	unreachable("a place between the slots", outside)
	if err := os.Symlink(path, filepath.Join(dir, "cvf-1.mem")); err != nil {
		t.Fatal(err)
	}
	unreachable("a symbolic link", at("cvf-1.mem"))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, mode fs.FileMode, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("cvf-2.mem", 0o666, whole)
	unreachable("a file that everybody may write to", at("cvf-2.mem"))
	write("cvf-3.mem", 0o600, bytes.Replace(whole, []byte(magic), []byte("CVFMEM02"), 1))
	unreachable("a file of another version", at("cvf-3.mem"))
	write("cvf-4.mem", 0o600, whole[:len(whole)-1])
	unreachable("a file that is cut short", at("cvf-4.mem"))
	write("cvf-5.mem", 0o600, nil)
	unreachable("an empty file", at("cvf-5.mem"))
	if err := syscall.Mkfifo(filepath.Join(dir, "cvf-6.mem"), 0o600); err != nil {
		t.Fatal(err)
	}
	unreachable("a pipe", at("cvf-6.mem"))

	reader := NewReader(dir)
	defer reader.Close()
	hold(t, reader, p, 1).Release()
	if err := os.Truncate(path, p.Offset); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Hold(p); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a file that was truncated while it is mapped: %v", err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Host(); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a directory that everybody may write to: %v", err)
	}
}

// TestEnds: the file goes with the feeder, and what is held stays.
func TestEnds(t *testing.T) {
	ring, dir := openRing(t, 2)
	reader := NewReader(dir)
	h := hold(t, reader, put(t, ring, 7), 7)
	making, _ := ring.Slot(tensorBytes)
	if err := ring.Close(); err != nil {
		t.Fatal(err)
	}
	making.Data()[0] = 1
	making.Release()
	if _, ok := ring.Slot(1); ok {
		t.Error("there is a slot after the end")
	}
	if names := filesIn(t, dir); len(names) > 0 {
		t.Errorf("%v are left", names)
	}
	reader.Close()
	if !bytes.Equal(h.Data, bytes.Repeat([]byte{7}, tensorBytes)) {
		t.Error("what is held has changed")
	}
	h.Release()
}

func filesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), fileSuffix) {
			names = append(names, e.Name())
		}
	}
	return names
}

// TestSeveral: feeders share a directory, and remove only the files of those that are dead.
func TestSeveral(t *testing.T) {
	ring, dir := openRing(t, 2)
	second := openIn(t, dir, 3)
	if ring.Host() != second.Host() {
		t.Error("two feeders with one directory are on two hosts")
	}
	dead := filepath.Join(dir, "cvf-dead.mem")
	if err := os.WriteFile(dead, []byte(magic), 0o600); err != nil {
		t.Fatal(err)
	}
	openIn(t, dir, 2)
	if names := filesIn(t, dir); len(names) != 3 {
		t.Errorf("%v are there", names)
	}
	if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file of a dead feeder: %v", err)
	}
}

// TestPermissions: the group may read, whatever the umask, and nobody else.
func TestPermissions(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	ring, dir := openRing(t, 1)
	for path, want := range map[string]fs.FileMode{dir: 0o750, ring.file.Name(): 0o640, filepath.Join(dir, readersFile): 0o640, filepath.Join(dir, lockFile): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, not %v (%v)", path, info.Mode(), want, err)
		}
	}
}

// TestRefused: what cannot work is said in words.
func TestRefused(t *testing.T) {
	refused := func(what, want string, o Options) {
		t.Helper()
		r, err := Open(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", what, err)
		}
		if err == nil {
			_ = r.Close()
		}
		if what == "a directory that somebody keeps locked" || what == "no parent" {
			return
		}
		if _, err := Check(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the check says %v", what, err)
		}
	}
	base := t.TempDir()
	good := Options{Dir: filepath.Join(base, "a"), Bytes: 1 << 20, SlotBytes: 1000}
	if _, err := Check(good); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(good.Dir); err == nil {
		t.Error("the check has made the directory")
	}
	with := func(f func(*Options)) Options { o := good; f(&o); return o }
	refused("no parent", "no such file", with(func(o *Options) { o.Dir = filepath.Join(base, "b", "c") }))
	refused("too little", "hold no tensor", with(func(o *Options) { o.Bytes = 100 }))
	refused("no such group", "no group", with(func(o *Options) { o.Group = "nobody-has-this-name" }))
	if err := os.Symlink(base, filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	refused("a link", "symbolic link", with(func(o *Options) { o.Dir = filepath.Join(base, "link") }))
	if err := os.WriteFile(filepath.Join(base, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("a file", "not a directory", with(func(o *Options) { o.Dir = filepath.Join(base, "file") }))
	if err := os.Mkdir(filepath.Join(base, "open"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(base, "open"), 0o777); err != nil {
		t.Fatal(err)
	}
	refused("a directory for everybody", "everybody may write", with(func(o *Options) { o.Dir = filepath.Join(base, "open") }))
	var space syscall.Statfs_t
	if err := syscall.Statfs(base, &space); err != nil {
		t.Fatal(err)
	}
	refused("more than there is", "no room", with(func(o *Options) { o.Bytes = (int64(space.Bavail) + 1<<20) * space.Bsize }))
	if names := filesIn(t, good.Dir); len(names) > 0 {
		t.Errorf("%v are left of what was refused", names)
	}
	locked, err := lockDir(t.Context(), good.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer locked.Close()
	refused("a directory that somebody keeps locked", "keeps the directory locked", good)
}
