#ifndef CVF_MASK_H
#define CVF_MASK_H

#include <stddef.h>
#include <stdint.h>

// The pixels of a row from column from to before column to, and what replaces them. It is
// transform.Span.
typedef struct {
	int32_t from, to;
	uint8_t bgr[4];
} cvf_span;

// What is covered of a picture: see transform.Cover.
typedef struct {
	const int32_t *rows; // for each row the first of its spans, and behind the last row their end
	const cvf_span *spans;
	int h;
} cvf_mask;

// A block of a mosaic, counted in blocks. It is an image.Point.
typedef struct {
	ptrdiff_t x, y;
} cvf_block;

// cvf_mask_row covers row y, of which row has every across-th pixel of four bytes from column
// left to before right; all where across is less than 2.
void cvf_mask_row(const cvf_mask *m, int y, int left, int right, int across, uint8_t *row);

// cvf_mask_picture covers a picture of three bytes a pixel.
void cvf_mask_picture(const cvf_mask *m, uint8_t *pixels, ptrdiff_t stride);

// cvf_mosaic replaces blocks of side x side pixels of a picture of w x h pixels by their mean,
// rounded: count of them. The pixels have three bytes.
void cvf_mosaic(const cvf_block *blocks, size_t count, int side, uint8_t *pixels, ptrdiff_t stride, int w, int h);

#endif
