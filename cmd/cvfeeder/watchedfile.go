package main

import (
	"crypto/sha256"
	"os"
	"time"
)

// lookEvery is how often the config file is looked at. A file that is being written
// is taken when two looks have found the same.
const lookEvery = time.Second

// A watchedFile tells when the contents of a file are others than before, however
// that comes about: by writing, by renaming, or by a symbolic link on its way to it
// that leads elsewhere, as Kubernetes does with config maps.
type watchedFile struct {
	path string

	info    os.FileInfo // when it was read last
	taken   [sha256.Size]byte
	next    [sha256.Size]byte
	waiting bool // for next to be found again
}

// watchFile returns a file whose contents are known.
func watchFile(path string, text []byte) *watchedFile {
	return &watchedFile{path: path, taken: sha256.Sum256(text)}
}

// read returns the contents, which then are known.
func (w *watchedFile) read() ([]byte, error) {
	text, err := os.ReadFile(w.path)
	if err == nil {
		w.taken, w.waiting = sha256.Sum256(text), false
	}
	return text, err
}

// changed looks, and returns the contents where they are new, and were the same at
// the look before. A file that is not there is one that is about to be replaced.
func (w *watchedFile) changed() ([]byte, bool) {
	if w == nil {
		return nil, false
	}
	info, err := os.Stat(w.path)
	if err != nil || !w.waiting && w.info != nil && os.SameFile(info, w.info) &&
		info.ModTime().Equal(w.info.ModTime()) && info.Size() == w.info.Size() {
		return nil, false
	}
	text, err := os.ReadFile(w.path)
	if err != nil {
		return nil, false
	}
	sum := sha256.Sum256(text)
	settled := w.waiting && sum == w.next
	w.info, w.next, w.waiting = info, sum, sum != w.taken && !settled
	if !settled || sum == w.taken {
		return nil, false
	}
	w.taken = sum
	return text, true
}
