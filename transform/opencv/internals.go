package opencv

// #include "jpeg.h"
import "C"

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
)

// The JPEGs that libjpeg is probed with. Both have 4:2:0; the first has restart markers.
var (
	//go:embed testdata/pictures/restart.jpg
	probeBaseline []byte
	//go:embed testdata/pictures/progressive.jpg
	probeProgressive []byte
)

// CheckRowDecoder returns nil if the row decoder can be used in this process, and
// otherwise the reason why not. A [Worker] checks this itself. Without the row decoder it
// makes the same tensors, in more time.
//
// The row decoder resizes a JPEG while libjpeg-turbo decodes its rows, and replaces two
// functions within libjpeg-turbo: for the Huffman codes and for an inverse DCT. That
// depends on private parts of the library. So it is used only if the library's headers
// are of a version that it was tested with, the linked library fits them, these functions
// are where they are expected, and a known picture has the same pixels with and without.
// Ways to resize for which OpenCV as it is built here has another filter, of Carotene on
// arm64 or of IPP on x86-64, are left to OpenCV.
func CheckRowDecoder() error {
	w := NewWorker(Options{NoRowDecoder: true})
	defer w.Close()
	return w.findRowDecoder()
}

// findRowDecoder sets w.internals and w.meter.rows by what it sees of the libraries. An
// error says why it does not set both.
func (w *Worker) findRowDecoder() error {
	if err := w.findInternals(probeBaseline, probeProgressive); err != nil {
		return err
	}
	var err error
	if w.meter.differs, err = w.compareSinks(w.resize); err != nil {
		return err
	}
	w.meter.rows = true
	return nil
}

// findInternals sets w.internals by what it sees of libjpeg as it decodes the pictures. An
// error says why it leaves them unset.
func (w *Worker) findInternals(baseline, progressive []byte) error {
	var found C.cvf_internals
	var message jpegMessage
	failed := C.cvf_internals_find(&found, (*C.uint8_t)(&baseline[0]), C.size_t(len(baseline)),
		(*C.uint8_t)(&progressive[0]), C.size_t(len(progressive)), &message[0]) != 0
	if failed {
		return fmt.Errorf("libjpeg-turbo %s: %s", jpegVersion(), C.GoString(&message[0]))
	}
	defer w.pixels.free()
	for _, n := range []int{8, 4} {
		if err := w.compareInternals(found, baseline, n); err != nil {
			return fmt.Errorf("libjpeg-turbo %s: %w", jpegVersion(), err)
		}
	}
	w.internals = found
	return nil
}

// compareInternals decodes a picture at n/8 without internals and with them.
func (w *Worker) compareInternals(found C.cvf_internals, data []byte, n int) error {
	h, err := readJPEGHeader(data)
	if err != nil {
		return err
	}
	v, err := w.pixels.picture(scaled(h.size, n), h.channels)
	if err != nil {
		return err
	}
	pixels := v.bytes()
	job := w.wholeJPEG(n, v)
	if err := w.runJPEG(&job, data); err != nil {
		return err
	}
	want := bytes.Clone(pixels)
	job.internals = found
	if err := w.runJPEG(&job, data); err != nil {
		return err
	}
	if job.used == 0 || !bytes.Equal(pixels, want) {
		return errors.New("a known picture is decoded differently than by libjpeg-turbo's own functions")
	}
	return nil
}
