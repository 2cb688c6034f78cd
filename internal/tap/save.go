package tap

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cvfeeder/cvfeeder/internal/tensorimage"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/tensor"
)

// maxName is the most bytes of a stream's or an output's name that go into the name of a
// file.
const maxName = 80

// folder is the directory that files are saved to. Nothing outside of it is ever written,
// whatever the files are called.
type folder struct{ root *os.Root }

func openFolder(path string) (*folder, error) {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return nil, fmt.Errorf("directory to save to: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("directory to save to: %w", err)
	}
	return &folder{root}, nil
}

func (f *folder) close() { _ = f.root.Close() }

// save writes <stream>.<output>.<time>.png and .npy.
func (f *folder) save(e publish.Envelope, tensor tensorimage.Tensor) error {
	name := fileName(e)
	return errors.Join(
		f.write(name+".png", tensor, tensorimage.EncodePNG),
		f.write(name+".npy", tensor, tensorimage.EncodeNPY),
	)
}

// savePicture writes the bytes of a picture to <stream>.<output>.<time> and the extension of its
// type.
func (f *folder) savePicture(p tensor.Tensor) error {
	name := fileName(p.Envelope) + tensorimage.Extension(p.ContentType)
	if err := f.root.WriteFile(name, p.Data, 0o640); err != nil {
		return fmt.Errorf("saving %s: %w", name, err)
	}
	return nil
}

func (f *folder) write(name string, tensor tensorimage.Tensor, encode func(io.Writer, tensorimage.Tensor) error) error {
	file, err := f.root.Create(name)
	if err != nil {
		return fmt.Errorf("saving %s: %w", name, err)
	}
	if err := errors.Join(encode(file, tensor), file.Close()); err != nil {
		return fmt.Errorf("saving %s: %w", name, err)
	}
	return nil
}

// fileName returns the name that the files have in common, without the extension. Its
// time has no colons, because some file systems refuse them.
func fileName(e publish.Envelope) string {
	return fmt.Sprintf("%s.%s.%s", safe(e.Stream), safe(e.Output), e.Time.UTC().Format("20060102T150405.000Z"))
}

// safe returns the name with an underscore for every character but letters, digits and
// minus, cut to maxName bytes.
func safe(name string) string {
	name = strings.Map(func(r rune) rune {
		if r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) || r == '-' {
			return r
		}
		return '_'
	}, name)
	for len(name) > maxName {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	return name
}
