#ifndef CVF_INTERNALS_H
#define CVF_INTERNALS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jpeglib.h>

// huffman.c and idct.c put functions of their own in the place of libjpeg's. Its
// public API has no way to do so: they write to structs of jpegint.h, which libjpeg's
// authors may change with any version. All that they rest on is looked at in
// internals.c before the first such write, and these are the versions of the headers
// for which it was tested.
//
// To add a version, build it, have the tests of this package run with its headers and
// its library, and read its changes to jpegint.h, jdhuff.c, jdcoefct.c and jidctred.c.
#if defined(__x86_64__) || defined(__aarch64__)
#define CVF_INTERNALS_KNOWN (JPEG_LIB_VERSION == 62 && LIBJPEG_TURBO_VERSION_NUMBER / 1000 == 2001)
#else
#define CVF_INTERNALS_KNOWN 0
#endif

// The functions that are replaced: each is only where libjpeg has just this one.
typedef struct {
	void (*decode_mcu)(void); // of baseline Huffman codes
	void (*idct_4x4)(void);   // the inverse DCT to 4x4 pixels; NULL where ours is not used
} cvf_internals;

// cvf_internals_find looks for the functions, in decodes of a baseline JPEG with 4:2:0
// and of a progressive one. It returns 0; or 1 where this libjpeg is not as expected,
// with a message that tells why, and internals are all zero.
int cvf_internals_find(cvf_internals *internals, const uint8_t *baseline, size_t baseline_size,
                       const uint8_t *progressive, size_t progressive_size, char *message);

#endif
