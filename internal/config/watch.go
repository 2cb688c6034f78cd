package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config/strictyaml"
)

// PollInterval is how often a watched file should be checked with [File.Changed]. A file
// that is still being written differs between two checks, so it is read only once two
// checks in a row have found the same contents.
const PollInterval = time.Second

// A File detects when the contents of a config file change, however that comes about:
// by writing to it, by renaming another file over it, or by a symbolic link on the way
// to it that is switched, as Kubernetes does with config maps.
//
// It is not safe for concurrent use.
type File struct {
	path string

	info      os.FileInfo // of the last check that read the file
	current   [sha256.Size]byte
	candidate [sha256.Size]byte
	pending   bool // candidate has been seen once
	missed    int  // checks in a row that could not read the file
}

// LoadWatched is like [Load], and also returns the file, with which later changes are
// detected.
func LoadWatched(path string, env func(string) (string, bool)) (*Config, *File, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, nil, err
	}
	cfg, err := Parse(path, text, env)
	return cfg, watch(path, text), err
}

// watch returns a file whose present contents are known.
func watch(path string, text []byte) *File {
	return &File{path: path, current: sha256.Sum256(text)}
}

// Path returns the name of the file as it was given.
func (f *File) Path() string { return f.path }

// Read returns the contents now, without waiting for a second check. [File.Changed]
// does not report them again.
func (f *File) Read() ([]byte, error) {
	text, err := strictyaml.ReadFile(f.path)
	if err == nil {
		f.current, f.pending = sha256.Sum256(text), false
	}
	return text, err
}

// Changed checks the file, and returns its contents where they are new and were the
// same at the previous check. The error says that the file can no longer be read. It comes
// once, at the second check in a row, as a file that is being replaced may be missing for
// a moment. What can be read afterwards is new, even if it is as before.
func (f *File) Changed() (text []byte, changed bool, err error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, false, f.missing(err)
	}
	if !f.pending && f.info != nil && os.SameFile(info, f.info) &&
		info.ModTime().Equal(f.info.ModTime()) && info.Size() == f.info.Size() {
		return nil, false, nil
	}
	if text, err = strictyaml.ReadFile(f.path); err != nil {
		return nil, false, f.missing(err)
	}
	sum := sha256.Sum256(text)
	settled := f.pending && sum == f.candidate
	f.info, f.candidate, f.pending, f.missed = info, sum, sum != f.current && !settled, 0
	if !settled || sum == f.current {
		return nil, false, nil
	}
	f.current = sum
	return text, true, nil
}

// missing notes that a check could not read the file, and returns the error if it is to be
// told.
func (f *File) missing(err error) error {
	f.info, f.pending = nil, false
	if f.missed++; f.missed != 2 {
		return nil
	}
	f.current = [sha256.Size]byte{}
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("there is no such file any more")
	}
	return fmt.Errorf("config file %s: %w: all streams go on, but a restart would fail; put the file back", f.path, err)
}
