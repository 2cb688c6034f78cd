#ifndef CVF_JPEG_H
#define CVF_JPEG_H

#include <stddef.h>
#include <stdint.h>

#include "kernels.h"
#include "mask.h"
#include "session.h"
#include "sink.h"
#include "tables.h"

typedef struct {
	int w, h;
	int channels;   // that the pixels are to be decoded to: 3, or 4 for CMYK
	int unit_w, unit_h; // pixels of an MCU, which share samples
	size_t library; // bytes that libjpeg allocates to decode it, at most
	size_t scratch; // bytes that cvf_jpeg_decode needs for it besides its sinks, at most
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
	size_t scratch;          // as in the header
	const cvf_kernels *own;  // for our own decoder; NULL where libjpeg is to decode alone
	cvf_huffman_tables *tables; // for that: those of the picture before, or zeros
	int used;                // set to whether our own decoder has made the pixels
	uint8_t *dst;            // for the pixels, without gaps between the rows
	uint8_t *means;          // unless NULL, for the sparse means (means.h); only for three channels
	int measured;            // set to whether these were made

	// Where there are resizes, they have the pixels instead of dst, and the picture is
	// never in memory as a whole: only for three channels.
	const cvf_resize *resizes;
	int count;
	const cvf_mask *mask; // what is covered before they are made; NULL for nothing
} cvf_jpeg_job;

// cvf_jpeg_scratch returns how many bytes of scratch memory cvf_jpeg_decode needs for the
// job, with these resizes.
size_t cvf_jpeg_scratch(const cvf_jpeg_job *job, const cvf_resize *resizes);

// cvf_jpeg_decode decodes a JPEG. It returns 0; or 1 after an error, with its
// message. The data is then at fault, and dst holds nothing of use.
//
// Our own decoder is tried first, where the picture is of a kind that it knows: see decode.h.
// It accepts only data that is right to the last bit. All other data is decoded again by
// libjpeg alone, so that pixels, errors and messages never depend on which one it was.
int cvf_jpeg_decode(cvf_jpeg_job *job, const uint8_t *data, size_t size, void *scratch,
                    char message[CVF_MESSAGE]);

#endif
