#ifndef CVF_LINEAR_H
#define CVF_LINEAR_H

#include <stddef.h>
#include <stdint.h>

// A picture of three 8-bit channels that is resized by linear interpolation while
// its rows come, from the top to the bottom. The result is that of cv::resize with
// INTER_LINEAR, bit for bit: weights of 11 bits, and the mean of four pixels where
// both sides are halved.
//
// Set the first four fields, then call cvf_linear_start.
typedef struct {
	int src_w, src_h;
	int dst_w, dst_h;

	int y;              // the row of the result that is made next
	int first, last;    // the source's rows that it is made of: last is first or the next
	int kind;
	int factor;         // of the rows and columns that are picked
	int32_t *column;    // for each pixel of a row, where its two begin
	int16_t *weight;    // and their weights
	int16_t *wide[2];   // rows of the source at the result's width, times 128
	int16_t weights[2]; // of the rows first and last
} cvf_linear;

// cvf_linear_scratch returns how many bytes cvf_linear_start needs, of memory
// aligned for any type.
size_t cvf_linear_scratch(const cvf_linear *l);
void cvf_linear_start(cvf_linear *l, void *scratch);

// What may be read behind a row of the source and written behind the result, in
// bytes.
#define CVF_LINEAR_BEHIND 8

// cvf_linear_rows takes row y of the source, and makes the rows of dst for which it
// was the last one missing. Rows other than l->first and l->last may be left out.
// rows[n & 1] is row n of the source; dst has no gaps between its rows.
void cvf_linear_rows(cvf_linear *l, const uint8_t *const rows[2], int y, uint8_t *dst);

#endif
