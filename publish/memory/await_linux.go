package memory

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// An Awaited is what a subscription has not received yet. It is safe for concurrent use.
type Awaited struct {
	path     string
	host     string
	subjects []string

	mu   sync.Mutex
	file *os.File
}

// Await says that whatever is published on subjects from now on is expected here, until
// [Awaited.Received] or [Awaited.Close]: it stays in memory for [DefaultGrace]. Call it before
// subscribing. A subject may be a pattern, of which only the last token counts: cvf.t.*.detector
// is every subject that ends in detector, and cvf.t.cam-1.* is everything. What is expected and does
// not come stays for that long, too. The error wraps [ErrUnreachable].
//
// To expect something is to have a read lock on its byte in the file of the readers. The feeder
// only looks whether there is a lock. So a lock can keep it from overwriting a tensor, and never
// the other way round.
func (r *Reader) Await(subjects ...string) (*Awaited, error) {
	if err := checkDir(r.dir); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	f, host, err := openReaders(r.dir)
	if err != nil {
		return nil, err
	}
	a := &Awaited{path: filepath.Join(r.dir, readersFile), host: host, subjects: subjects, file: f}
	if err := a.Again(); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

var errLocked = errors.New("somebody has locked it for writing")

// Again says that everything is expected, whatever was received. It is to be called when a file
// was removed, see [Reader.Sweep], because the number of that one is used again at some time.
func (a *Awaited) Again() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.subjects {
		from, n := lanesOf(s)
		if ok, err := lock(a.file, from, n, false); !ok {
			return fmt.Errorf("%w: %s cannot be locked: %w", ErrUnreachable, a.path, cmp.Or(err, errLocked))
		}
	}
	return nil
}

// Host returns the token that stands for the directory, and is part of subjects.
func (a *Awaited) Host() string { return a.host }

// Current tells whether the directory is still the same.
func (a *Awaited) Current() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	is, err := a.file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(a.path)
	return err == nil && os.SameFile(is, there)
}

// Received says that a tensor which came on a subject is held now. With it, all that were
// published on that subject before have come, or will not.
func (a *Awaited) Received(subject string, h *Hold) {
	if h.sequence < 1 || h.sequence > maxSequence {
		return
	}
	l := laneOf(subject, h.file.number)
	a.mu.Lock()
	defer a.mu.Unlock()
	unlock(a.file, int64(l), int64(h.sequence)+1)
}

// Close says that nothing is expected any more.
func (a *Awaited) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.file.Close() // it was only read
}
