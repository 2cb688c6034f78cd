// Package opencv turns encoded pictures into tensors, with libjpeg-turbo for
// JPEG and OpenCV for resampling.
//
//	w := opencv.NewWorker(opencv.Options{})
//	defer w.Close()
//	if err := w.Decode(frame, outputs); err != nil { // *transform.DecodeError: the frame's fault
//		return err
//	}
//	for _, o := range outputs {
//		t, err := w.Tensor(o)
//		// use t.Data, then t.Release()
//	}
//
// A [Worker] belongs to one goroutine at a time: it owns the memory that it works in
// and reuses it for the next frame. Run one per core; OpenCV's own threads are
// turned off.
//
// # Pixels
//
// The pixels are those of the reference libraries. JPEG is decoded as Pillow and
// cv2 do by default (accurate DCT, smooth chroma upsampling), PNG as with cv2's
// IMREAD_COLOR: 8 bits a channel, alpha dropped. CMYK becomes RGB by Pillow's
// formula. EXIF orientation is ignored, as by Pillow, torchvision, and cv2.imread with
// IMREAD_IGNORE_ORIENTATION; Kinesis Video sets none. Gray is cv2's COLOR_BGR2GRAY,
// computed before resizing.
//
// Only whole pictures are accepted: an error of a library makes the picture undecodable, a
// warning that says anything about its pixels, and a missing scan. Where a baseline JPEG
// has no Huffman tables, those of the standard are used, as by the libraries.
//
// # The row decoder
//
// Baseline JPEGs are decoded by a decoder of our own, of which libjpeg-turbo reads the
// header, through its public functions alone: see [CheckRowDecoder]. It makes the same
// pixels, and only those that are read: rows and columns that no output needs are neither
// transformed nor upsampled nor converted. Everything else, and all data that is not right
// to the last bit, is decoded by libjpeg-turbo.
//
// A JPEG is resized row by row while it is decoded, for all outputs. So the whole picture is
// never written to memory, whose bandwidth is what many workers run short of first.
//
// # Stability
//
// [Worker], [Options] and [Engine] are stable, and so are the tensors: if their bytes
// change, so does [Engine] or the fingerprint. How they are made, and how fast, may
// change with any release.
//
// # Building
//
// Building needs OpenCV 4, the libjpeg of libjpeg-turbo, and libwebp, with their pkg-config files. Of
// OpenCV it links core and imgproc only: with Debian's imgcodecs come 130 libraries more, and
// 35 MB of memory. The tests compare with all of OpenCV, and need -tags
// gocv_specific_modules.
//
// The package is larger than most packages of this module because all of its C is here:
// cgo compiles only the C files beside the Go files that call them, and a kernel is best
// read beside its caller.
package opencv

/*
#cgo CFLAGS: -std=c11 -O3 -Wall -Wextra
#cgo CXXFLAGS: -std=c++11 -O2 -Wall -Wextra
#cgo LDFLAGS: -Wl,--as-needed -lm
#cgo pkg-config: libjpeg opencv4
#include "cv.h"
#if __has_include(<jconfig.h>)
#include <jconfig.h>
#endif

#define STRING(x) #x
#define QUOTE(x) STRING(x)

static const char *cvf_jpeg_version(void) {
#ifdef LIBJPEG_TURBO_VERSION
	return QUOTE(LIBJPEG_TURBO_VERSION);
#else
	return "unknown";
#endif
}
*/
import "C"

import (
	"fmt"
	"sync/atomic"
)

// Engine returns the versions of the libraries that make the pixels, in one line,
// for [transform.Spec.Fingerprint]: "opencv 4.6.0, libjpeg-turbo 2.1.5".
// For libjpeg-turbo it is the version of the headers at build time.
func Engine() string {
	return fmt.Sprintf("opencv %s, libjpeg-turbo %s", C.GoString(C.cvf_cv_version()), jpegVersion())
}

// jpegVersion returns the version of libjpeg-turbo's headers.
func jpegVersion() string { return C.GoString(C.cvf_jpeg_version()) }

// openMats counts the matrices that OpenCV works with. It is one for the process, as
// OpenCV's heap is.
var openMats atomic.Int64 //nolint:gochecknoglobals // counts what belongs to the process

// OpenMats returns how many matrices OpenCV works with right now. There are none while
// no [Worker] is at work, so a growing number is a leak.
func OpenMats() int { return int(openMats.Load()) }
