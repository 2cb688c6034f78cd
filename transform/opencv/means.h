#ifndef CVF_MEANS_H
#define CVF_MEANS_H

#include <stdint.h>

#include "sink.h"

// The brightness of a picture at an eighth of its size: a byte for each block of 8x8 pixels, row by
// row. The blocks at the right and lower edge may have fewer pixels.

// cvf_means_of_dc makes the means of n blocks of their DC coefficients, which are quantized by
// factor. It returns whether a coefficient was out of range.
int cvf_means_of_dc(const int16_t *dc, int n, int factor, uint8_t *dst);

// A sink that makes the means of the pixels that it takes: a row of each row of blocks, which is
// enough to tell how good a picture is, and takes an eighth of the time.
typedef struct {
	cvf_sink sink;
	int w, h; // of the picture
	int side; // pixels of a block across and down: 8, or n of a picture that is decoded at n/8
	uint8_t *dst;
} cvf_means;

// cvf_means_start makes the sink of a picture of w x h pixels. dst has room for its blocks.
void cvf_means_start(cvf_means *m, int w, int h, int side, uint8_t *dst);

// cvf_means_of_pixels makes the means of a picture in memory, as the sink does, with step bytes for
// each pixel: blue, green, red.
void cvf_means_of_pixels(const uint8_t *pixels, int w, int h, int side, int step, uint8_t *dst);

#endif
