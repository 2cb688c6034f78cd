// Package opencv turns encoded pictures into tensors, with libjpeg-turbo for
// JPEG and OpenCV for PNG and for resampling.
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
// A [Worker] belongs to one goroutine at a time: it owns the memory it works in
// and reuses it for the next frame. Run one per core; OpenCV's own threads are
// off.
//
// The pixels are those of the reference libraries. JPEG is decoded as Pillow and
// cv2 do by default (accurate DCT, smooth chroma upsampling), PNG as cv2's
// IMREAD_COLOR: 8 bits a channel, alpha dropped. CMYK becomes RGB by Pillow's
// formula. EXIF orientation is ignored, as Pillow and torchvision do and
// cv2.imread does with IMREAD_IGNORE_ORIENTATION; Kinesis Video sets none. Gray
// is cv2's COLOR_BGR2GRAY, before resizing.
//
// A JPEG for one output that is resized by opencv-linear is resized row by row as it
// is decoded, and never is in memory as a whole: the same pixels for less of the
// memory's bandwidth, which is what many workers run short of.
//
// Building needs OpenCV 4, and libturbojpeg and libjpeg of libjpeg-turbo, with their
// pkg-config files, and -tags gocv_specific_modules.
package opencv

/*
#cgo CFLAGS: -std=c11 -O3 -Wall -Wextra
#cgo LDFLAGS: -lm
#cgo pkg-config: libjpeg
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

	"gocv.io/x/gocv"
)

// Engine names the versions of the libraries that make the pixels, in one line,
// for [transform.Spec.Fingerprint]: "opencv 4.6.0, libjpeg-turbo 2.1.5, gocv 0.43.0".
// libjpeg-turbo's is that of its headers at build time.
func Engine() string {
	return fmt.Sprintf("opencv %s, libjpeg-turbo %s, gocv %s",
		gocv.OpenCVVersion(), jpegVersion(), gocv.Version())
}

// jpegVersion returns the version of libjpeg-turbo's headers.
func jpegVersion() string { return C.GoString(C.cvf_jpeg_version()) }

// openMats counts the Mats that this package has open. OpenCV's heap belongs to
// the process, and so does the count.
var openMats atomic.Int64 //nolint:gochecknoglobals // a count of what is the process's own

// OpenMats returns how many Mats are open in the process right now: none between
// two calls of a [Worker]. A number that grows is a leak.
func OpenMats() int { return int(openMats.Load()) }
