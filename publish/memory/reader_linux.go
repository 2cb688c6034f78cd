package memory

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// maxFiles is how many files a reader keeps mapped. A feeder has one, and a new one after it
// was started again.
const maxFiles = 8

// A Reader reads what feeders have put into one directory. It is safe for concurrent use.
type Reader struct {
	dir string

	mu    sync.Mutex
	files []*mapped // the one that was used last is the last one
}

// NewReader returns a reader of a directory, which need not exist yet.
func NewReader(dir string) *Reader { return &Reader{dir: dir} }

// Host returns the token that stands for the directory, and is part of subjects. The error
// wraps [ErrUnreachable].
func (r *Reader) Host() (string, error) {
	if err := checkDir(r.dir); err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	f, token, err := openReaders(r.dir)
	if err != nil {
		return "", err
	}
	return token, f.Close()
}

// A Hold keeps a tensor in memory.
type Hold struct {
	// Data is the tensor's bytes. They must not be written to, nor read after Release.
	Data []byte

	file     *mapped
	slot     int64
	sequence uint64 // of the tensor in its lane
	once     sync.Once
}

// Hold returns what is at a place, which stays there until [Hold.Release]. The error wraps
// [ErrOverwritten] or [ErrUnreachable].
func (r *Reader) Hold(p Place) (*Hold, error) {
	f, err := r.open(p.File)
	if err != nil {
		return nil, err
	}
	h, err := f.hold(p)
	if err != nil {
		f.leave()
		return nil, err
	}
	return h, nil
}

// Sweep gives up the files that were removed, whose memory would stay allocated otherwise. What is
// held of them stays. It tells whether there were any. Call it from time to time.
func (r *Reader) Sweep() (some bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := len(r.files)
	r.files = slices.DeleteFunc(r.files, func(f *mapped) bool {
		gone := f.removed()
		if gone {
			f.leave()
		}
		return gone
	})
	return len(r.files) < before
}

// removed tells whether the file has no name any more.
func (m *mapped) removed() bool {
	info, err := m.file.Stat()
	return err == nil && info.Sys().(*syscall.Stat_t).Nlink == 0
}

// Close unmaps the files as soon as nothing of them is held any more.
func (r *Reader) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.files {
		f.leave()
	}
	r.files = nil
}

// open returns a file, with one more user.
func (r *Reader) open(name string) (*mapped, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, f := range r.files {
		if f.name == name {
			copy(r.files[i:], r.files[i+1:])
			r.files[len(r.files)-1] = f
			f.enter()
			return f, nil
		}
	}
	if !isFile(name) {
		return nil, fmt.Errorf("%w: %.60q is no file of a feeder", ErrUnreachable, name)
	}
	f, err := mapFile(r.dir, name)
	if err != nil {
		return nil, err
	}
	if len(r.files) == maxFiles {
		r.files[0].leave()
		r.files = r.files[1:]
	}
	r.files = append(r.files, f)
	f.enter()
	return f, nil
}

// A mapped file is one that is mapped once, and whose slots are locked by way of one open
// file: two holds of one slot share a lock.
type mapped struct {
	name   string
	file   *os.File
	data   []byte
	place  layout
	number uint64

	mu    sync.Mutex
	users int
	holds map[int64]int // by slot
}

func mapFile(dir, name string) (*mapped, error) {
	if err := checkDir(dir); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	f, err := openOwn(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	m := &mapped{name: name, file: f, users: 1, holds: map[int64]int{}}
	if err := m.read(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return m, nil
}

// read maps the file and reads its first page.
func (m *mapped) read() error {
	info, err := m.file.Stat()
	if err != nil || info.Size() < firstData || int64(int(info.Size())) != info.Size() {
		return fmt.Errorf("%w: %s is too short, or too long", ErrUnreachable, m.file.Name())
	}
	data, err := syscall.Mmap(int(m.file.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("%w: %s cannot be mapped: %w", ErrUnreachable, m.file.Name(), err)
	}
	l := layout{
		slotBytes: int64(binary.LittleEndian.Uint64(data[atSlotBytes:])),
		slots:     int64(binary.LittleEndian.Uint64(data[atSlots:])),
		data:      int64(binary.LittleEndian.Uint64(data[atData:])),
	}
	if string(data[:len(magic)]) != magic || !l.valid(info.Size()) {
		_ = syscall.Munmap(data) // it was mapped just now
		return fmt.Errorf("%w: %s is not a feeder's, or of another version", ErrUnreachable, m.file.Name())
	}
	m.data, m.place, m.number = data, l, binary.LittleEndian.Uint64(data[atNumber:])
	return nil
}

func (m *mapped) hold(p Place) (*Hold, error) {
	slot := m.place.slotOf(p)
	if slot < 0 {
		return nil, fmt.Errorf("%w: %v is outside of the slots", ErrUnreachable, p)
	}
	info, err := m.file.Stat()
	if err != nil || info.Size() != int64(len(m.data)) {
		return nil, fmt.Errorf("%w: %s has another length than before", ErrUnreachable, m.name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	header := m.place.header(slot)
	if m.holds[slot] == 0 {
		ok, err := lock(m.file, header, headerBytes, false)
		if err != nil {
			return nil, fmt.Errorf("%w: %s cannot be locked: %w", ErrUnreachable, m.name, err)
		}
		if !ok {
			return nil, ErrOverwritten
		}
	}
	if m.load(header+atGeneration) != p.Generation || m.load(header+atLength) != uint64(p.Length) {
		if m.holds[slot] == 0 {
			unlock(m.file, header, headerBytes)
		}
		return nil, ErrOverwritten
	}
	m.holds[slot]++
	return &Hold{
		Data: m.data[p.Offset : p.Offset+p.Length : p.Offset+p.Length],
		file: m, slot: slot, sequence: m.load(header + atSequence),
	}, nil
}

func (m *mapped) load(at int64) uint64 {
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(&m.data[at]))) //nolint:gosec // within the file, and aligned
}

// Release lets the feeder use the memory again. A second call does nothing.
func (h *Hold) Release() {
	h.once.Do(func() {
		h.Data = nil
		m := h.file
		m.mu.Lock()
		if m.holds[h.slot]--; m.holds[h.slot] == 0 {
			delete(m.holds, h.slot)
			unlock(m.file, m.place.header(h.slot), headerBytes)
		}
		m.mu.Unlock()
		m.leave()
	})
}

func (m *mapped) enter() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users++
}

// leave unmaps the file when its last user leaves.
func (m *mapped) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users--; m.users == 0 {
		_ = syscall.Munmap(m.data) // fails only for what is not mapped
		_ = m.file.Close()         // it was only read
		m.data = nil
	}
}
