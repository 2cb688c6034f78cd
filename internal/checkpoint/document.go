package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A Document is a value in a file of its own, as JSON, in a state directory. The file is
// replaced atomically, as that of the cursors is.
type Document[T any] struct{ path string }

// NewDocument returns the document of that name, such as "budget.json". The directory is
// locked by a [Store].
func NewDocument[T any](dir, name string) Document[T] {
	return Document[T]{filepath.Join(dir, name)}
}

// Load returns what was saved last, and the zero value if nothing was. After an error, the
// document is not what anybody saved.
func (d Document[T]) Load() (v T, err error) {
	f, err := openRegular(d.path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return v, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxBytes))
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		var none T
		return none, fmt.Errorf("%s: %w", d.path, err)
	}
	return v, nil
}

// Save replaces the document. When it returns nil, it survives a crash of the machine.
func (d Document[T]) Save(v T) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return replace(d.path, data)
}
