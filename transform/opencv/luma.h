#ifndef CVF_LUMA_H
#define CVF_LUMA_H

#include <stddef.h>
#include <stdint.h>

#include "session.h"
#include "tables.h"

// A JPEG whose brightness is wanted at an eighth of its size: of each block of 8x8 pixels
// only the mean, which is its DC coefficient.
typedef struct {
	int w, h;                // blocks: the picture's size / 8, rounded up
	double seconds;          // of processor time that it may take; 0 for any
	int own;                 // our own decoder is tried first
	cvf_huffman_tables *tables; // for that: those of the picture before, or zeros
	int used;                // set to whether that has read the picture
	uint8_t *dst;            // for w x h means
} cvf_luma_job;

// cvf_luma_scratch returns how many bytes of scratch memory cvf_luma_read needs, aligned to 64
// bytes, for means of a picture of w blocks in a row.
size_t cvf_luma_scratch(int w);

// cvf_luma_read reads the means. It returns 0; or 1 after an error, with its message: the
// data is at fault, or the picture is of another kind than YCbCr and gray.
//
// Our own decoder has the same means as libjpeg, which decides about broken data, and about
// pictures that our own does not know.
int cvf_luma_read(cvf_luma_job *job, const uint8_t *data, size_t size, void *scratch, char message[CVF_MESSAGE]);

#endif
