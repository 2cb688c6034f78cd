package opencv

// #include "jpeg.h"
import "C"

import (
	"bytes"
	_ "embed"
	"fmt"
	"sync"
)

// The JPEGs that are decoded in two ways when the process starts: of each sampling that our
// own decoder knows, one with restart markers among them.
var (
	//go:embed testdata/pictures/restart.jpg
	known420 []byte
	//go:embed testdata/pictures/422.jpg
	known422 []byte
	//go:embed testdata/pictures/440.jpg
	known440 []byte
	//go:embed testdata/pictures/444.jpg
	known444 []byte
	//go:embed testdata/pictures/gray.jpg
	knownGray []byte
)

// CheckRowDecoder returns nil if the row decoder can be used in this process, and
// otherwise the reason why not. It is looked at once, as a [Worker] does itself. Without the
// row decoder it makes the same tensors, in more time.
//
// The row decoder is our own for baseline JPEGs, and resizes pictures while their rows are
// decoded. It is used only if known pictures have the same pixels as with the libjpeg that is
// linked, at every scale: libjpeg itself, without -turbo, upsamples in another way. Ways to
// resize for which OpenCV as it is built here has another filter, of Carotene on arm64 or of
// IPP on x86-64, are left to OpenCV.
func CheckRowDecoder() error { return rowDecoderHere().err }

// A rowDecoder is what this process can use of the row decoder.
type rowDecoder struct {
	own     *C.cvf_kernels // see Worker
	differs map[way]bool   // see Meter
	err     error          // why it is not used, or only in part
}

// rowDecoderHere compares the row decoder with the libraries. These are the same for the whole
// process, so all workers share the answer.
var rowDecoderHere = sync.OnceValue(func() rowDecoder { //nolint:gochecknoglobals // of the process
	w := newWorker(Options{})
	defer w.Close()
	err := w.findRowDecoder()
	return rowDecoder{own: w.own, differs: w.meter.differs, err: err}
})

// findRowDecoder sets w.own and w.meter.differs by what it sees of the libraries. An error says
// why it does not set both.
func (w *Worker) findRowDecoder() error {
	if err := w.findDecoder(&kernels()[0], known420, known422, known440, known444, knownGray); err != nil {
		return err
	}
	differs, err := w.compareSinks(w.resize)
	w.meter.differs = differs
	return err
}

// findDecoder sets w.own if our own decoder makes the same of the pictures as libjpeg. An error
// says why it leaves it unset.
func (w *Worker) findDecoder(own *C.cvf_kernels, pictures ...[]byte) error {
	defer w.pixels.free()
	for _, data := range pictures {
		for n := 1; n <= 8; n++ {
			if err := w.compareDecoders(own, data, n); err != nil {
				return fmt.Errorf("libjpeg-turbo %s: %w", jpegVersion(), err)
			}
		}
	}
	w.own = own
	return nil
}

// compareDecoders decodes a picture at n/8 with libjpeg and with our own decoder.
func (w *Worker) compareDecoders(own *C.cvf_kernels, data []byte, n int) error {
	h, err := readJPEGHeader(data)
	if err != nil {
		return err
	}
	v, err := w.pixels.picture(scaled(h.size, n), h.channels)
	if err != nil {
		return err
	}
	pixels := v.bytes()
	job := w.wholeJPEG(h, n, v)
	job.own = nil
	if err := w.runJPEG(&job, data); err != nil {
		return err
	}
	want := bytes.Clone(pixels)
	clear(pixels)
	job.own = own
	if err := w.runJPEG(&job, data); err != nil {
		return err
	}
	if job.used == 0 {
		return fmt.Errorf("a known picture of %v is not decoded by our own decoder at %d/8", h.size, n)
	}
	if !bytes.Equal(pixels, want) {
		return fmt.Errorf("a known picture of %v is decoded differently by libjpeg at %d/8", h.size, n)
	}
	return nil
}
