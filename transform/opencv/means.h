#ifndef CVF_MEANS_H
#define CVF_MEANS_H

#include <stdint.h>

#include "sink.h"

// The brightness of a picture: the mean of each block of 8x8 pixels, or the sparse means, of every
// other block of every other row of blocks, row by row.

// cvf_means_of_dc makes the means of n blocks of their DC coefficients, which are quantized by
// factor, and step apart. It returns whether a coefficient was out of range.
int cvf_means_of_dc(const int16_t *dc, int n, int step, int factor, uint8_t *dst);

// A sink that makes the sparse means of the pixels that it takes: of a single row of each block,
// which is enough to tell how good a picture is.
typedef struct {
	cvf_sink sink;
	int w, h; // of the picture
	int side; // pixels of a block across and down: 8, or n of a picture that is decoded at n/8
	uint8_t *dst;
} cvf_means;

// cvf_means_start makes the sink of a picture of w x h pixels. dst has room for its sparse means.
void cvf_means_start(cvf_means *m, int w, int h, int side, uint8_t *dst);

// cvf_means_of_pixels makes the sparse means of a picture in memory, as the sink does, with step bytes for
// each pixel: blue, green, red.
void cvf_means_of_pixels(const uint8_t *pixels, int w, int h, int side, int step, uint8_t *dst);

#endif
