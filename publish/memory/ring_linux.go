package memory

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/cvfeeder/cvfeeder/transform"
)

var _ transform.Shared = (*Ring)(nil)

// Options are those of [Open].
type Options struct {
	// Dir is the directory, which is made if it is missing; its parent must exist.
	Dir string
	// Bytes is how much memory the slots take, and SlotBytes the largest tensor.
	Bytes     int64
	SlotBytes int
	// Grace is for how long a tensor stays where it is for readers that expect it and have not
	// received it yet. Default: [DefaultGrace]; negative for not at all.
	Grace time.Duration
	// Group, where set, is the name or the number of the group whose members may read.
	// Default: that of the directory.
	Group string
	// Writable lets the group write to the tensors, too, and gives their file a second name in the
	// directory above: shm_open(3), with which a Triton opens what its clients register, takes no
	// name in a directory, and Triton opens it for writing. Whoever may write can spoil what
	// others read, and end them and the feeder by truncating the file.
	Writable bool
}

// layout returns that of the file.
func (o Options) layout() (layout, error) {
	one := layoutOf(1, max(o.SlotBytes, 1))
	l := layoutOf(o.Bytes/one.slotBytes, max(o.SlotBytes, 1))
	if l.slots < 1 {
		return l, fmt.Errorf("%d bytes hold no tensor of %d", o.Bytes, o.SlotBytes)
	}
	return l, nil
}

// A Ring is memory for tensors that other processes can read. It is safe for concurrent use.
type Ring struct {
	host    string
	name    string // of the file
	number  uint64 // of the file, for lanes
	grace   time.Duration
	place   layout
	file    *os.File
	above   string // the second name of the file, "" for none
	readers *os.File
	made    []identity // how the directory and what is in it were made
	data    []byte     // the whole file

	mu        sync.Mutex
	free      []*slot // what was published longest ago is used first
	slots     []*slot
	sequences map[lane]uint64 // of the last tensor
	none      uint64
	taken     int
	ended     bool
}

// A slot is memory for one tensor. What it holds of the tensor is there until the slot is
// taken again.
type slot struct {
	ring       *Ring
	index      int64
	generation uint64
	length     int
	padding    transform.Padding // of the last tensor
	padded     int               // the length of the last tensor
	shared     bool              // with others, since it was taken
	since      time.Time         // when it was shared last
	lane       lane
	sequence   uint64 // in the lane
}

// Open makes the file of a ring. The error says in words what is wrong, for example that the
// memory file system is full.
func Open(ctx context.Context, o Options) (*Ring, error) {
	r, err := open(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("memory in %s: %w", o.Dir, err)
	}
	return r, nil
}

func open(ctx context.Context, o Options) (*Ring, error) {
	l, err := o.layout()
	if err != nil {
		return nil, err
	}
	if err := makeDir(o.Dir, o.Group); err != nil {
		return nil, err
	}
	locked, err := lockDir(ctx, o.Dir)
	if err != nil {
		return nil, err
	}
	defer locked.Close() //nolint:errcheck // ends the lock
	if err := removeDead(o.Dir); err != nil {
		return nil, err
	}
	if o.Writable {
		if err := removeDead(filepath.Dir(o.Dir)); err != nil { // of which the directory is gone
			return nil, err
		}
	}
	readers, host, err := makeReaders(o.Dir)
	if err != nil {
		return nil, err
	}
	number, err := nextNumber(locked)
	if err != nil {
		return nil, errors.Join(err, readers.Close())
	}
	token := newToken()
	r := &Ring{host: host, name: filePrefix + token + fileSuffix, number: number, grace: cmp.Or(o.Grace, DefaultGrace), place: l, readers: readers, sequences: map[lane]uint64{}}
	path := filepath.Join(o.Dir, r.name)
	if r.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|noFollow, fileMode); err != nil {
		return nil, errors.Join(err, readers.Close())
	}
	if err := r.prepare(o, path, token); err != nil {
		return nil, errors.Join(err, r.remove(), r.file.Close(), readers.Close())
	}
	for i := range l.slots {
		r.slots = append(r.slots, &slot{ring: r, index: i})
	}
	r.free = slices.Clone(r.slots)
	return r, nil
}

// prepare gives the file its permissions, its memory and its names.
func (r *Ring) prepare(o Options, path, token string) error {
	if err := errors.Join(give(r.file, o.Dir), r.allocate(token)); err != nil {
		return err
	}
	names := []string{o.Dir, r.readers.Name(), path}
	if o.Writable {
		if err := r.file.Chmod(writableMode); err != nil {
			return err
		}
		above := filepath.Join(filepath.Dir(o.Dir), r.name)
		if err := os.Link(path, above); err != nil {
			return fmt.Errorf("the file cannot be named above the directory, as delivery.memory_writable asks for: %w", err)
		}
		r.above = above
		names = append(names, above)
	}
	var err error
	r.made, err = identify(names...)
	return err
}

// remove removes the names of the file, as far as they are there.
func (r *Ring) remove() error {
	err := ignore(os.Remove(r.file.Name()))
	if r.above != "" {
		err = errors.Join(err, ignore(os.Remove(r.above)))
	}
	return err
}

// ignore returns nil for an error that there is no such file.
func ignore(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// allocate gives the file its memory, and locks it for as long as the process lives.
func (r *Ring) allocate(token string) error {
	if ok, err := lock(r.file, 0, 1, true); !ok {
		return fmt.Errorf("the file cannot be locked: %w", err)
	}
	size := r.place.size()
	switch err := syscall.Fallocate(int(r.file.Fd()), 0, 0, size); {
	case errors.Is(err, syscall.ENOSPC):
		return noRoom(size)
	case err != nil:
		return fmt.Errorf("%d bytes cannot be allocated: %w", size, err)
	}
	data, err := syscall.Mmap(int(r.file.Fd()), 0, int(size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("the file cannot be mapped: %w", err)
	}
	r.data = data
	binary.LittleEndian.PutUint64(data[atSlotBytes:], uint64(r.place.slotBytes))
	binary.LittleEndian.PutUint64(data[atSlots:], uint64(r.place.slots))
	binary.LittleEndian.PutUint64(data[atData:], uint64(r.place.data))
	binary.LittleEndian.PutUint64(data[atNumber:], r.number)
	copy(data[atToken:], token)
	copy(data, magic) // last: without it, nobody reads the rest
	return nil
}

// Host returns the token that stands for the directory, and is part of subjects.
func (r *Ring) Host() string { return r.host }

// Stats are those of a [Ring] at one instant.
type Stats struct {
	// Slots is how many there are. Held are those that others hold, and Taken those with
	// tensors that are being made or published.
	Slots, Held, Taken int
	// None counts tensors for which there was no slot: all were held, taken or expected.
	None uint64
	// Remade counts the rings that a [Keeper] has made anew.
	Remade uint64
}

// Stats looks at every slot.
func (r *Ring) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{Slots: len(r.slots), Taken: r.taken, None: r.none}
	if r.ended {
		return s
	}
	for _, one := range r.slots {
		if held, _ := locked(r.file, r.place.header(one.index), headerBytes); held {
			s.Held++
		}
	}
	return s
}

// Slot implements [transform.Shared]. It returns false if all slots are in use, or expected by
// somebody, or none is large enough.
func (r *Ring) Slot(n int) (transform.Slot, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n < 1 || int64(n) > r.place.slotBytes || r.ended {
		return nil, false
	}
	look := glance{ring: r, now: time.Now()}
	for i, s := range r.free {
		if look.expected(s) {
			continue
		}
		if ok, err := lock(r.file, r.place.header(s.index), headerBytes, true); !ok || err != nil {
			continue // somebody reads it
		}
		r.free = slices.Delete(r.free, i, i+1)
		r.taken++
		s.generation++
		s.length, s.shared = n, false
		s.store(atLength, 0)
		s.store(atGeneration, s.generation)
		return s, true
	}
	r.none++
	return nil, false
}

// maxLooks is how often it is looked for a slot whether somebody expects what is in it.
const maxLooks = 32

// A glance is one look for a slot.
type glance struct {
	ring  *Ring
	now   time.Time
	looks int
	lanes []lane // of which something is expected, and with it all that came later
}

// expected tells whether somebody may be about to receive what was in a slot.
func (g *glance) expected(s *slot) bool {
	if g.now.Sub(s.since) >= g.ring.grace {
		return false
	}
	if g.looks == maxLooks || slices.Contains(g.lanes, s.lane) {
		return true
	}
	g.looks++
	is, err := locked(g.ring.readers, s.lane.at(s.sequence), 1)
	if is || err != nil || s.sequence > maxSequence {
		g.lanes = append(g.lanes, s.lane)
		return true
	}
	return false
}

// store writes a number to the header. No reader sees it before the lock is given up.
func (s *slot) store(at int64, v uint64) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&s.ring.data[s.ring.place.header(s.index)+at])), v) //nolint:gosec // within the file, and aligned
}

// Data implements [transform.Slot].
func (s *slot) Data() []byte {
	from := s.ring.place.content(s.index)
	return s.ring.data[from : from+int64(s.length) : from+int64(s.length)]
}

// Keep implements [transform.Slot].
func (s *slot) Keep(p transform.Padding) (padded bool) {
	padded = s.padded == s.length && s.padding == p
	s.padding, s.padded = p, s.length
	return padded
}

// Share implements [transform.Slot].
func (s *slot) Share(subject string) string {
	r := s.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return "" // whoever does not have the file finds it no more
	}
	if !s.shared {
		s.lane = laneOf(subject, r.number)
		r.sequences[s.lane]++
		s.sequence = r.sequences[s.lane]
		s.shared, s.since = true, time.Now()
		s.store(atSequence, s.sequence)
		s.store(atLength, uint64(s.length))
		s.unlock()
	}
	return Place{File: r.name, Offset: r.place.content(s.index), Length: int64(s.length), Generation: s.generation}.String()
}

func (s *slot) unlock() { unlock(s.ring.file, s.ring.place.header(s.index), headerBytes) }

// Release implements [transform.Slot].
func (s *slot) Release() {
	r := s.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken--
	if r.ended {
		r.unmap()
		return
	}
	if s.shared {
		r.free = append(r.free, s)
		return
	}
	s.unlock()
	r.free = slices.Insert(r.free, 0, s) // nobody was told of what is in it
}

// Close removes the file, if nobody has done so before. Readers keep what they have; so do tensors
// that were not released yet.
func (r *Ring) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil
	}
	r.ended = true
	err := errors.Join(r.remove(), r.file.Close(), r.readers.Close())
	r.unmap()
	return err
}

// unmap gives the memory back once nobody uses it here.
func (r *Ring) unmap() {
	if r.taken == 0 && r.data != nil {
		_ = syscall.Munmap(r.data) // fails only for what is not mapped
		r.data = nil
	}
}
