package memory

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
)

const (
	// dirMode and fileMode let the group read, and nobody else.
	dirMode  = 0o750 | fs.ModeSetgid
	fileMode = 0o640
	// writableMode is that of a file with Options.Writable.
	writableMode = 0o660
	// readersFile holds a random token that stands for the directory, and with it for this host.
	// Readers lock in it what they expect: see [Reader.Await].
	readersFile = "readers"
	lockFile    = "lock"
	// lockTime is how long another feeder may take to start.
	lockTime = 5 * time.Second
	noFollow = syscall.O_NOFOLLOW | syscall.O_CLOEXEC
)

// makeDir makes the directory if it is missing, and checks it. group, unless "", is the group
// whose members may read.
func makeDir(dir, group string) error {
	err := os.Mkdir(dir, 0o700)
	made := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("the directory cannot be made: %w", err)
	}
	if err := checkDir(dir); err != nil {
		return err
	}
	if !made && group == "" {
		return nil
	}
	if group != "" {
		gid, err := groupID(group)
		if err != nil {
			return err
		}
		if err := os.Lchown(dir, -1, gid); err != nil {
			return fmt.Errorf("the directory cannot be given to the group %s, of which the user has to be a member: %w", group, err)
		}
	}
	if err := os.Chmod(dir, dirMode); err != nil {
		return fmt.Errorf("the permissions of the directory cannot be set: %w", err)
	}
	return nil
}

// checkDir returns why others could put files into a directory.
func checkDir(dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link: name the directory itself", dir)
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case info.Mode().Perm()&0o002 != 0:
		return fmt.Errorf("everybody may write to %s: name a directory within it, which is made", dir)
	}
	return nil
}

func groupID(name string) (int, error) {
	if gid, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(gid), nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("there is no group %s on this system; its number will do, too", name)
	}
	return strconv.Atoi(g.Gid)
}

// lockDir waits until no other feeder changes the directory. Closing the file ends that.
func lockDir(ctx context.Context, dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	for {
		ok, err := lock(f, 0, 1, true)
		switch {
		case ok:
			return f, nil
		case err != nil:
			return nil, errors.Join(fmt.Errorf("the directory cannot be locked: %w", err), f.Close())
		}
		if pacing.Sleep(ctx, 10*time.Millisecond) != nil {
			return nil, errors.Join(fmt.Errorf("another feeder keeps the directory locked for %v", lockTime), f.Close())
		}
	}
}

// openReaders opens the file of a directory's readers, and returns its token.
func openReaders(dir string) (f *os.File, token string, err error) {
	if f, err = openOwn(filepath.Join(dir, readersFile)); err != nil {
		return nil, "", err
	}
	text := make([]byte, 64)
	n, err := f.Read(text)
	if token = strings.TrimSpace(string(text[:n])); err == nil && isToken(token) {
		return f, token, nil
	}
	return nil, "", errors.Join(fmt.Errorf("%w: %s is damaged", ErrUnreachable, f.Name()), f.Close())
}

// makeReaders opens the file of the readers of a locked directory, which gets one if it has none.
func makeReaders(dir string) (f *os.File, token string, err error) {
	f, token, err = openReaders(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, token, err
	}
	made, err := os.OpenFile(filepath.Join(dir, readersFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL|noFollow, fileMode)
	if err != nil {
		return nil, "", err
	}
	_, err = made.WriteString(newToken() + "\n")
	if err := errors.Join(err, give(made, dir), made.Close()); err != nil {
		return nil, "", errors.Join(err, os.Remove(made.Name()))
	}
	return openReaders(dir)
}

// nextNumber returns the number of the next file in a locked directory. Those that are there at a
// time have different ones, modulo what [lane] has bits for.
func nextNumber(locked *os.File) (uint64, error) {
	text := make([]byte, 20)
	n, err := locked.ReadAt(text, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	number, _ := strconv.ParseUint(strings.TrimSpace(string(text[:n])), 10, 32) // 0 for a new file
	number++
	_, err = locked.WriteAt(fmt.Appendf(nil, "%-10d\n", number), 0)
	return number, err
}

// give lets the group of a directory read a new file in it, whatever the umask, and whether the
// directory gives its group to what is in it or not.
func give(f *os.File, dir string) error {
	of, err := os.Stat(dir)
	if err != nil {
		return err
	}
	is, err := f.Stat()
	if err != nil {
		return err
	}
	if gid := of.Sys().(*syscall.Stat_t).Gid; gid != is.Sys().(*syscall.Stat_t).Gid {
		if err := f.Chown(-1, int(gid)); err != nil {
			return fmt.Errorf("the file cannot be given to the group of the directory, %d, of which the user has to be a member: %w", gid, err)
		}
	}
	return f.Chmod(fileMode)
}

// newToken returns a random token.
func newToken() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never returns an error
	return hex.EncodeToString(b)
}

// openOwn opens a file to be read that nobody but its owner can have written.
func openOwn(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|noFollow|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%w: %s is not a file", ErrUnreachable, path)
	case info.Mode().Perm()&0o002 != 0:
		err = fmt.Errorf("%w: everybody may write to %s", ErrUnreachable, path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// removeDead removes the files of feeders that have died from a locked directory. Those that
// cannot be opened are somebody else's, and stay.
func removeDead(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !isFile(e.Name()) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		f, err := os.OpenFile(path, os.O_RDWR|noFollow|syscall.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		if dead, _ := lock(f, 0, 1, true); dead {
			_ = os.Remove(path) // which the next feeder tries, too
		}
		_ = f.Close() // nothing was written
	}
	return nil
}

// tmpfs is the type of a memory file system: see statfs(2).
const tmpfs = 0x01021994

// Check tells whether [Open] would succeed, without making anything. The note says what would
// work, but badly.
func Check(o Options) (note string, err error) {
	if note, err = check(o); err != nil {
		return "", fmt.Errorf("memory in %s: %w", o.Dir, err)
	}
	return note, nil
}

func check(o Options) (note string, err error) {
	l, err := o.layout()
	if err != nil {
		return "", err
	}
	if o.Group != "" {
		if _, err := groupID(o.Group); err != nil {
			return "", err
		}
	}
	dir := o.Dir
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		dir = filepath.Dir(dir) // in which it will be made
	} else if err := checkDir(dir); err != nil {
		return "", err
	}
	const mayWrite = 2
	if err := syscall.Access(dir, mayWrite); err != nil {
		return "", fmt.Errorf("%s cannot be written to: %w", dir, err)
	}
	var space syscall.Statfs_t
	if err := syscall.Statfs(dir, &space); err != nil {
		return "", err
	}
	if int64(space.Bavail) < l.size()/space.Bsize {
		return "", noRoom(l.size())
	}
	if space.Type != tmpfs {
		note = dir + " is not in a memory file system, such as /dev/shm: tensors would be written to a disk"
	}
	return note, nil
}

func noRoom(size int64) error {
	return fmt.Errorf("the file system has no room for %d bytes: make it larger (in a pod, the sizeLimit of its emptyDir and the container's memory), or delivery.memory_bytes smaller", size)
}
