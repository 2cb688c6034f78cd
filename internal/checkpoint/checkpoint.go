// Package checkpoint keeps the streams' cursors in a directory, from one run of the
// process to the next.
//
//	store, err := checkpoint.Open("/var/lib/cvfeeder")
//	if err != nil { … }
//	defer store.Close()
//	if store.Damaged() != "" { … } // an unreadable file was set aside
//	cursor, ok := store.Load("front-door")
//	store.Set("front-door", cursor)
//	err = store.Flush(ctx, "front-door")
//
// All cursors are in one file, which is replaced atomically: a crash leaves the old file
// or the new one. It carries a checksum. A damaged file is set aside and reported, never
// trusted. Only one process at a time can use a directory.
package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

const (
	fileName = "cursors.json"
	lockName = "lock"
)

// A Store is the cursors of one directory. It implements [source.Cursors].
type Store struct {
	dir     string
	lock    *os.File
	damaged string
	writing chan struct{} // holds an element while the file is being written

	mu      sync.Mutex
	cursors map[string]source.Slot
	changed bool // since they were written
}

// Open opens a directory, and makes it if it does not exist. It returns an error if
// another process has the directory open, but none for a damaged file: see
// [Store.Damaged].
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	lock, err := acquire(filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("state directory %s: %w", dir, err)
	}
	s := &Store{dir: dir, lock: lock, writing: make(chan struct{}, 1), cursors: map[string]source.Slot{}}
	if err := s.read(); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("state directory %s: %w", dir, err)
	}
	return s, nil
}

// acquire opens the lock file and locks it for this process, until it is closed.
func acquire(path string) (*os.File, error) {
	f, err := openRegular(path, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.New("another process is using it: give each process a directory of its own")
		}
		return nil, err
	}
	return f, nil
}

// read loads the file. It sets a damaged one aside.
func (s *Store) read() error {
	path := filepath.Join(s.dir, fileName)
	f, err := openRegular(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return err
	}
	cursors, err := decode(data)
	if err == nil {
		s.cursors = cursors
		return nil
	}
	aside := fmt.Sprintf("%s.damaged-%s", path, time.Now().UTC().Format("20060102T150405.000"))
	if e := os.Rename(path, aside); e != nil {
		return errors.Join(err, e)
	}
	s.damaged = fmt.Sprintf("%s was not readable (%v) and has been renamed to %s", path, err, aside)
	return nil
}

// Damaged says which file was set aside when the store was opened, and why. It returns ""
// if none was.
func (s *Store) Damaged() string { return s.damaged }

// Load returns the cursor last set for a key, and false if there is none.
func (s *Store) Load(key string) (source.Slot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.cursors[key]
	return c, ok
}

// Set notes the cursor of a key. The next Flush writes it.
func (s *Store) Set(key string, cursor source.Slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.cursors[key]; !ok || old != cursor {
		s.cursors[key] = cursor
		s.changed = true
	}
}

// Rewind notes the cursor of a key, even if it is before the one that it had.
func (s *Store) Rewind(key string, cursor source.Slot) { s.Set(key, cursor) }

// Flush writes all cursors if any has changed, whatever the keys. When it returns nil,
// they survive a crash of the machine. When ctx ends during a write, Flush returns, and
// the write goes on; the next Flush and Close wait for it.
func (s *Store) Flush(ctx context.Context, _ ...string) error {
	select {
	case s.writing <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("state directory %s: %w", s.dir, ctx.Err())
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-s.writing }()
		done <- s.writeChanged()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("state directory %s: %w", s.dir, ctx.Err())
	}
}

// writeChanged writes the cursors if any has changed. It is called by one goroutine at a
// time.
func (s *Store) writeChanged() error {
	s.mu.Lock()
	changed, cursors := s.changed, maps.Clone(s.cursors)
	s.changed = false
	s.mu.Unlock()
	if !changed {
		return nil
	}
	if err := s.write(cursors); err != nil {
		s.mu.Lock()
		s.changed = true
		s.mu.Unlock()
		return fmt.Errorf("state directory %s: %w", s.dir, err)
	}
	return nil
}

func (s *Store) write(cursors map[string]source.Slot) error {
	data, err := encode(cursors)
	if err != nil {
		return err
	}
	return replace(filepath.Join(s.dir, fileName), data)
}

// Close writes what has changed and releases the directory.
func (s *Store) Close() error {
	return errors.Join(s.Flush(context.Background()), s.lock.Close())
}
