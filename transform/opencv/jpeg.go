package opencv

// #include <turbojpeg.h>
// #include "pack.h"
import "C"

import (
	"encoding/binary"
	"errors"
	"image"
	"runtime"
	"strings"

	"github.com/cvfeeder/cvfeeder/transform"
)

// A jpegDecoder decodes JPEGs with libjpeg-turbo's own API, which reports what
// libjpeg and OpenCV only warn of. The zero value is ready.
type jpegDecoder struct{ handle C.tjhandle }

// A jpegHeader is what a JPEG says of itself.
type jpegHeader struct {
	size image.Point
	cmyk bool
}

// header reads the header of a JPEG. It allocates nothing for the pixels.
func (d *jpegDecoder) header(data []byte) (jpegHeader, error) {
	d.close() // libjpeg keeps the tables of one picture for the next
	if d.handle = C.tjInitDecompress(); d.handle == nil {
		return jpegHeader{}, errors.New("libjpeg-turbo has no memory for a decoder")
	}
	runtime.LockOSThread() // fail must run on this thread
	defer runtime.UnlockOSThread()
	const unset = -2
	var width, height C.int
	var subsampling, space C.int = unset, unset
	failed := C.tjDecompressHeader3(d.handle, (*C.uchar)(&data[0]), C.ulong(len(data)),
		&width, &height, &subsampling, &space) != 0
	runtime.KeepAlive(data)
	// Chroma subsampling that TurboJPEG has no name for is an error here, though
	// it decodes it; all else is known then.
	unnamed := subsampling == -1 && space >= 0 && width > 0 && height > 0
	if failed && !unnamed {
		return jpegHeader{}, d.fail(data)
	}
	if space == unset { // tables alone, as in abbreviated streams, are no error
		d.close()
		return jpegHeader{}, undecodable(transform.ReasonTruncated, "JPEG ends before its picture")
	}
	if !hasTables(data) {
		return jpegHeader{}, undecodable(transform.ReasonCorrupt, "JPEG without tables of its own, as in abbreviated streams")
	}
	return jpegHeader{
		size: image.Pt(int(width), int(height)),
		cmyk: space == C.TJCS_CMYK || space == C.TJCS_YCCK,
	}, nil
}

// decode decodes a JPEG into dst: BGR, or CMYK where it has four channels. The
// size of dst must be the JPEG's, times n/8. A warning is an error: libjpeg warns
// where it goes on with pixels that it made up.
func (d *jpegDecoder) decode(data []byte, dst view) error {
	format := C.int(C.TJPF_BGR)
	if dst.channels == 4 {
		format = C.TJPF_CMYK
	}
	runtime.LockOSThread() // fail must run on this thread
	defer runtime.UnlockOSThread()
	failed := C.tjDecompress2(d.handle, (*C.uchar)(&data[0]), C.ulong(len(data)),
		(*C.uchar)(dst.p), C.int(dst.size.X), C.int(dst.stride), C.int(dst.size.Y), format,
		C.TJFLAG_STOPONWARNING|C.TJFLAG_LIMITSCANS|C.TJFLAG_ACCURATEDCT) != 0
	runtime.KeepAlive(data)
	if failed {
		return d.fail(data)
	}
	return nil
}

// fail returns why the last call failed, and gives the decoder up: TurboJPEG would
// begin the next picture in the state that it left this one in. It keeps libjpeg's
// messages by thread.
func (d *jpegDecoder) fail(data []byte) error {
	text := C.GoString(C.tjGetErrorStr2(d.handle))
	d.close()
	return jpegFailure(text, data)
}

// jpegFailure returns the error of which libjpeg gives the text.
func jpegFailure(text string, data []byte) error {
	if strings.Contains(text, "Premature end") || endsInHeader(data) {
		return undecodable(transform.ReasonTruncated, "JPEG: %s", text)
	}
	return undecodable(transform.ReasonCorrupt, "JPEG: %s", text)
}

// The markers of JPEG that are looked for.
const (
	defineHuffman      = 0xc4
	defineQuantization = 0xdb
	startOfScan        = 0xda
)

// hasTables tells whether a JPEG has tables before its first scan, to decode it with.
// In place of Huffman tables that are missing libjpeg takes those of the standard,
// which may not be the ones that it was made with.
func hasTables(data []byte) bool {
	quantization, huffman := false, false
	for rest := data[2:]; len(rest) >= 4 && rest[0] == 0xff; {
		switch marker := rest[1]; {
		case marker == 0xff: // fills
			rest = rest[1:]
			continue
		case marker == startOfScan:
			return quantization && huffman
		case marker == defineQuantization:
			quantization = true
		case marker == defineHuffman, 0xc9 <= marker && marker <= 0xcf: // arithmetic coding needs none
			huffman = true
		}
		rest = rest[min(2+int(binary.BigEndian.Uint16(rest[2:])), len(rest)):]
	}
	return true // libjpeg says what is wrong
}

// endsInHeader tells whether a JPEG ends before its first scan: libjpeg stumbles
// over the end in many ways.
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

// close frees the decoder.
func (d *jpegDecoder) close() {
	if d.handle != nil {
		C.tjDestroy(d.handle)
		d.handle = nil
	}
}

// convertCMYK converts pixels of inverted CMYK, as Adobe writes them, to BGR.
func convertCMYK(src, dst view) {
	C.cvf_cmyk_to_bgr((*C.uint8_t)(src.p), (*C.uint8_t)(dst.p), C.size_t(src.size.X*src.size.Y))
}
