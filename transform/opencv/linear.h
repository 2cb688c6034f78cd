#ifndef CVF_LINEAR_H
#define CVF_LINEAR_H

#include <stddef.h>
#include <stdint.h>

// Resizes a picture of three 8-bit channels by linear interpolation, one row after the
// other from top to bottom. The result is that of cv::resize with INTER_LINEAR, bit for
// bit: with weights of 11 bits, or as the mean of four pixels where both sides are
// halved.
//
// Set the first four fields, then call cvf_linear_start.
typedef struct {
	int src_w, src_h;
	int dst_w, dst_h;

	int y;              // the row of the result that comes next
	int first, last;    // the rows of the source that it is made of: one, or two neighbours
	int kind;           // how: see linear.c
	int factor;         // the source's sides divided by the result's
	int32_t *column;    // for each pixel of a row, the offset of the two that it is made of
	int16_t *weight;    // and the weights of these two
	int16_t *wide[2];   // two rows of the source, resized to the result's width, times 128
	int16_t weights[2]; // the weights of first and last
} cvf_linear;

// cvf_linear_scratch returns how many bytes cvf_linear_start needs, of memory
// aligned for any type.
size_t cvf_linear_scratch(const cvf_linear *l);
void cvf_linear_start(cvf_linear *l, void *scratch);

// The bytes that may be read behind a row of the source, and written behind the result.
#define CVF_LINEAR_BEHIND 8

// cvf_linear_rows is called with each row y of the source, and writes the rows of dst that
// can now be made. Rows other than l->first and l->last may be left out. rows[n & 1] is
// row n of the source; dst has no gaps between its rows.
void cvf_linear_rows(cvf_linear *l, const uint8_t *const rows[2], int y, uint8_t *dst);

#endif
