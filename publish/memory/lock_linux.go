package memory

import (
	"errors"
	"os"
	"syscall"
)

// Open-file-description locks, which belong to a file as it was opened: see fcntl(2). Package
// syscall has no names for them.
const (
	ofdGetLock = 36
	ofdSetLock = 37
)

// lock tries to lock n bytes of a file from an offset on: for reading, which others may do at
// the same time, or for writing. It does not wait.
func lock(f *os.File, from, n int64, write bool) (ok bool, err error) {
	kind := int16(syscall.F_RDLCK)
	if write {
		kind = syscall.F_WRLCK
	}
	err = syscall.FcntlFlock(f.Fd(), ofdSetLock, &syscall.Flock_t{Type: kind, Start: from, Len: n})
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		return false, nil
	}
	return err == nil, err
}

// unlock gives up a lock. It fails only for what is no file.
func unlock(f *os.File, from, n int64) {
	_ = syscall.FcntlFlock(f.Fd(), ofdSetLock, &syscall.Flock_t{Type: syscall.F_UNLCK, Start: from, Len: n})
}

// locked tells whether somebody else has locked any of n bytes from an offset on.
func locked(f *os.File, from, n int64) (bool, error) {
	l := syscall.Flock_t{Type: syscall.F_WRLCK, Start: from, Len: n}
	err := syscall.FcntlFlock(f.Fd(), ofdGetLock, &l)
	return l.Type != syscall.F_UNLCK, err
}
