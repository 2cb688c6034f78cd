package opencv

// #include "jpeg.h"
// #include "pack.h"
import "C"

import (
	"encoding/binary"
	"image"
	"strings"
	"time"
	"unsafe"

	"github.com/cvfeeder/cvfeeder/transform"
)

// A jpegHeader is what a JPEG says about itself.
type jpegHeader struct {
	size     image.Point
	grain    transform.Grain
	channels int   // that its pixels are decoded to: 3 for BGR, 4 for CMYK
	library  int64 // bytes that libjpeg itself takes to decode it
	scratch  int64 // bytes that our own decoder takes; 0 where it does not know this kind
}

type (
	jpegJob     = C.cvf_jpeg_job
	jpegMessage = [C.CVF_MESSAGE]C.char
)

// readJPEGHeader reads the header of a JPEG. It allocates nothing for the pixels.
func readJPEGHeader(data []byte) (jpegHeader, error) {
	var header C.cvf_jpeg_header
	var message jpegMessage
	if C.cvf_jpeg_read_header((*C.uint8_t)(&data[0]), C.size_t(len(data)), &header, &message[0]) != 0 {
		return jpegHeader{}, jpegFailure(&message, data)
	}
	unit := image.Pt(int(header.unit_w), int(header.unit_h))
	return jpegHeader{
		size: image.Pt(int(header.w), int(header.h)), grain: transform.Grain{Unit: unit, Blended: unit != image.Pt(8, 8)},
		channels: int(header.channels), library: int64(header.library), scratch: int64(header.scratch),
	}, nil
}

// wholeJPEG returns the job of decoding a JPEG with the header at n/8 into dst, which has its
// size at that scale and its channels.
func (w *Worker) wholeJPEG(h jpegHeader, n int, dst view) jpegJob {
	return jpegJob{
		eighths: C.int(n), w: C.int(dst.size.X), h: C.int(dst.size.Y), channels: C.int(dst.channels),
		scratch: C.size_t(h.scratch), own: w.own, dst: (*C.uint8_t)(dst.p),
	}
}

// keepMeans notes whether a job has made the brightness of a picture.
func (w *Worker) keepMeans(job *jpegJob, p picture) {
	if job.measured != 0 {
		w.kept = p.full
	}
}

// runJPEG does the job with the data.
func (w *Worker) runJPEG(job *jpegJob, data []byte) error {
	if err := w.scratch.reserve(int(C.cvf_jpeg_scratch(job, job.resizes))); err != nil {
		return err
	}
	var err error
	if job.tables, err = w.huffmanTables(); err != nil {
		return err
	}
	job.seconds = w.seconds(image.Pt(int(job.w), int(job.h)))
	var message jpegMessage
	failed := C.cvf_jpeg_decode(job, (*C.uint8_t)(&data[0]), C.size_t(len(data)), w.scratch.p, &message[0]) != 0
	if failed {
		return jpegFailure(&message, data)
	}
	return nil
}

// huffmanBytes is the size of the Huffman tables that our own decoder makes of a JPEG's.
const huffmanBytes = int(C.sizeof_cvf_huffman_tables)

// huffmanTables returns those of the JPEG before, which are kept because a camera's are always
// the same, or zeros.
func (w *Worker) huffmanTables() (*C.cvf_huffman_tables, error) {
	before := w.huffman.p
	if err := w.huffman.reserve(huffmanBytes); err != nil {
		return nil, err
	}
	if w.huffman.p != before {
		clear(unsafe.Slice((*byte)(w.huffman.p), huffmanBytes))
	}
	return (*C.cvf_huffman_tables)(w.huffman.p), nil
}

// seconds returns how much processor time a picture may take.
func (w *Worker) seconds(size image.Point) C.double {
	return C.double(w.patience.Seconds() * max(1, float64(size.X*size.Y)/(defaultMaxWidth*defaultMaxHeight)))
}

// jpegFailure returns the error for data that libjpeg refuses with a message.
func jpegFailure(message *jpegMessage, data []byte) error {
	text := C.GoString(&message[0])
	if strings.HasPrefix(text, "Too costly") {
		return undecodable(transform.ReasonCost, "JPEG: %s", text)
	}
	if strings.Contains(text, "Premature end") || endsInHeader(data) {
		return undecodable(transform.ReasonTruncated, "JPEG: %s", text)
	}
	return undecodable(transform.ReasonCorrupt, "JPEG: %s", text)
}

// decodeTime is how much processor time libjpeg may take for a JPEG of up to 3840x2160
// pixels. Larger ones have more in proportion.
const decodeTime = 2 * time.Second

// startOfScan is the marker that a scan's header begins with.
const startOfScan = 0xda

// endsInHeader tells whether a JPEG ends before its first scan: libjpeg has many
// messages for that.
func endsInHeader(data []byte) bool {
	rest := data[2:]
	for len(rest) >= 4 {
		if rest[0] != 0xff {
			return false
		}
		n := 2 + int(binary.BigEndian.Uint16(rest[2:]))
		if n > len(rest) {
			return true
		}
		if rest[1] == startOfScan {
			return false
		}
		rest = rest[n:]
	}
	return true
}

// convertCMYK converts pixels of inverted CMYK, as Adobe writes them, to BGR.
func convertCMYK(src, dst view) {
	C.cvf_cmyk_to_bgr((*C.uint8_t)(src.p), (*C.uint8_t)(dst.p), C.size_t(src.size.X*src.size.Y))
}
