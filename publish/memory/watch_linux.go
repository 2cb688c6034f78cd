package memory

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrGone says that the directory of a ring, or what is in it, was removed, replaced or damaged, so
// readers do not find it any more.
var ErrGone = errors.New("gone")

// An identity is which file is at a path, and who may do what with it.
type identity struct {
	path string
	is   syscall.Stat_t
}

// identify returns what is at paths.
func identify(paths ...string) ([]identity, error) {
	var all []identity
	for _, path := range paths {
		one := identity{path: path}
		if err := syscall.Lstat(path, &one.is); err != nil {
			return nil, &fs.PathError{Op: "lstat", Path: path, Err: err}
		}
		all = append(all, one)
	}
	return all, nil
}

// look returns what has become of a file, and sets its permissions as they were.
func (i *identity) look() error {
	var now syscall.Stat_t
	err := syscall.Lstat(i.path, &now)
	switch {
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("%s is %w: somebody has removed it", i.path, ErrGone)
	case err != nil:
		return fmt.Errorf("%s is %w: %w", i.path, ErrGone, err)
	case now.Dev != i.is.Dev || now.Ino != i.is.Ino:
		return fmt.Errorf("%s is %w: another one was put in its place", i.path, ErrGone)
	case now.Mode != i.is.Mode || now.Gid != i.is.Gid || now.Uid != i.is.Uid:
		err := fmt.Errorf("the permissions of %s were changed: mode %o, owner %d, group %d", i.path, now.Mode&0o7777, now.Uid, now.Gid)
		return errors.Join(err, i.mend(now))
	}
	return nil
}

// mend sets the owner, the group and the mode as they were.
func (i *identity) mend(now syscall.Stat_t) error {
	if now.Uid != i.is.Uid || now.Gid != i.is.Gid {
		if err := os.Lchown(i.path, int(i.is.Uid), int(i.is.Gid)); err != nil {
			return err
		}
	}
	return syscall.Chmod(i.path, i.is.Mode&0o7777)
}

// Look tells whether readers still find the ring, and mends what it can: permissions, and memory
// that was given up. The error says what was wrong. If it wraps [ErrGone], only a new ring helps.
func (r *Ring) Look() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil
	}
	var all []error
	for i := range r.made {
		if err := r.made[i].look(); err != nil {
			if errors.Is(err, ErrGone) {
				return err // without it, the others cannot be there
			}
			all = append(all, err)
		}
	}
	return errors.Join(append(all, r.lookAtMemory())...)
}

// lookAtMemory returns what has become of the memory.
func (r *Ring) lookAtMemory() error {
	var now syscall.Stat_t
	if err := syscall.Fstat(int(r.file.Fd()), &now); err != nil {
		return err
	}
	size := int64(len(r.data))
	if now.Size != size {
		return fmt.Errorf("the memory of %s is %w: its length was changed from %d to %d", r.file.Name(), ErrGone, size, now.Size)
	}
	const block = 512 // bytes, whatever the file system has: see stat(2)
	var on syscall.Statfs_t
	if err := syscall.Fstatfs(int(r.file.Fd()), &on); err != nil {
		return err
	}
	if now.Blocks*block >= size || on.Type != tmpfs {
		return nil
	}
	// To write to it when the file system is full would end the process with SIGBUS.
	err := fmt.Errorf("%d bytes of the memory of %s were given up by somebody", size-now.Blocks*block, filepath.Base(r.file.Name()))
	if again := syscall.Fallocate(int(r.file.Fd()), 0, 0, size); again != nil {
		return fmt.Errorf("the memory is %w: %w, and cannot be had again: %w", ErrGone, err, again)
	}
	return err
}
