#ifndef CVF_JPEG_H
#define CVF_JPEG_H

#include <stddef.h>
#include <stdint.h>

#include "internals.h"
#include "session.h"
#include "sink.h"

typedef struct {
	int w, h;
	int channels;   // that the pixels are to be decoded to: 3, or 4 for CMYK
	size_t library; // bytes that libjpeg allocates to decode it, at most
} cvf_jpeg_header;

// cvf_jpeg_read_header reads the header of a JPEG, and allocates nothing for the
// pixels. It returns 0; or 1 after an error, with its message.
int cvf_jpeg_read_header(const uint8_t *data, size_t size, cvf_jpeg_header *header, char message[CVF_MESSAGE]);

// A JPEG to decode, to BGR or, where it has four channels, to CMYK.
typedef struct {
	int eighths;             // the picture is decoded at n/8
	int w, h;                // its size then
	int channels;            // as in the header
	double seconds;          // of processor time that it may take; 0 for any
	int lax;                 // codes that do not exist are no error: for benchmarks
	cvf_internals internals; // all zero: libjpeg is used by its public functions alone
	int used;                // set to whether the internals have decoded the picture
	uint8_t *dst;            // for the pixels, without gaps between the rows

	// Where there are resizes, they have the pixels instead of dst, and the picture is
	// never in memory as a whole: only for three channels.
	const cvf_resize *resizes;
	int count;
} cvf_jpeg_job;

// cvf_jpeg_scratch returns how many bytes of scratch memory cvf_jpeg_decode needs for a
// picture that is w pixels wide at its scale, and count resizes.
size_t cvf_jpeg_scratch(int w, const cvf_resize *resizes, int count);

// cvf_jpeg_decode decodes a JPEG. It returns 0; or 1 after an error, with its
// message. The data is then at fault, and dst holds nothing of use.
//
// Where job->internals are set, they are tried first. They accept only data that is
// right to the last bit. All other data is decoded again by libjpeg alone, so that
// pixels, errors and messages never depend on the internals.
int cvf_jpeg_decode(cvf_jpeg_job *job, const uint8_t *data, size_t size, void *scratch,
                    char message[CVF_MESSAGE]);

#endif
