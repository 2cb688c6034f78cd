package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cvfeeder/cvfeeder/source"
)

const (
	version  = 1
	maxBytes = 64 << 20
)

// file is the content of the file. Sum is the CRC-32 of Cursors as it stands there.
type file struct {
	Version int             `json:"version"`
	Sum     string          `json:"sum"`
	Cursors json.RawMessage `json:"cursors"`
}

// decode returns the cursors in the content of a file, or why it cannot be trusted.
func decode(data []byte) (map[string]source.Slot, error) {
	if len(data) > maxBytes {
		return nil, fmt.Errorf("larger than %d bytes", maxBytes)
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	if f.Version != version {
		return nil, fmt.Errorf("version is %d, this program reads version %d", f.Version, version)
	}
	if f.Sum != sum(f.Cursors) {
		return nil, errors.New("wrong checksum")
	}
	var times map[string]string
	if err := json.Unmarshal(f.Cursors, &times); err != nil {
		return nil, err
	}
	cursors := make(map[string]source.Slot, len(times))
	for key, t := range times {
		slot, err := source.ParseSlot(t)
		if err != nil {
			return nil, fmt.Errorf("the cursor of %.80q: %w", key, err)
		}
		cursors[key] = slot
	}
	return cursors, nil
}

// encode returns the content of a file with the cursors.
func encode(cursors map[string]source.Slot) ([]byte, error) {
	times := make(map[string]string, len(cursors))
	for key, c := range cursors {
		times[key] = c.String()
	}
	raw, err := json.Marshal(times)
	if err != nil {
		return nil, err
	}
	return json.Marshal(file{Version: version, Sum: sum(raw), Cursors: raw})
}

// openRegular opens a file, and refuses what only looks like one: to read a pipe may take
// for ever, and a device may have no end.
func openRegular(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, flag|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file (%v): remove it", path, info.Mode().Type())
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func sum(data []byte) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE(data)) }

// replace writes a file so that a crash leaves either the old or the new content.
func replace(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
