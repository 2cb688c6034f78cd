#include "means.h"

#include <limits.h>

#include "decode_kernels.h"

int cvf_means_of_dc(const int16_t *dc, int n, int step, int factor, uint8_t *dst) {
	int wrong = 0;
	for (int i = 0; i < n; i++) {
		int v = dc[i * step] * factor, mean = ((v + 4) >> 3) + 128; // the coefficient is 8 times the mean
		wrong |= v > CVF_DCT_COEFFICIENT || v < -CVF_DCT_COEFFICIENT;
		dst[i] = (uint8_t)(mean < 0 ? 0 : mean > 255 ? 255 : mean);
	}
	return wrong;
}

// Makes the means of a row of blocks of a row of pixels, by the weights of ITU-R BT.601.
static void make_row(const uint8_t *row, int w, int side, int step, uint8_t *dst) {
	for (int x = 0; x < w; x += 2 * side, row += 2 * side * step, dst++) {
		int n = w - x < side ? w - x : side, sum = 0;
		for (int i = 0; i < n; i++) {
			const uint8_t *p = row + i * step;
			sum += 29 * p[0] + 150 * p[1] + 77 * p[2];
		}
		*dst = (uint8_t)((sum / n + 128) >> 8);
	}
}

// The row of pixels that stands for row k of sparse means.
static int row_of(int k, int side, int h) {
	int y = 2 * k * side + side / 2;
	return y < h ? y : h - 1;
}

// How many sparse means there are across, or down.
static int blocks(int w, int side) { return (w + 2 * side - 1) / (2 * side); }

static void take(cvf_sink *s, const uint8_t *row) {
	cvf_means *m = (cvf_means *)s;
	int k = s->next / (2 * m->side);
	make_row(row, m->w, m->side, 4, m->dst + (size_t)k * blocks(m->w, m->side));
	s->next = k + 1 < blocks(m->h, m->side) ? row_of(k + 1, m->side, m->h) : INT_MAX;
}

void cvf_means_start(cvf_means *m, int w, int h, int side, uint8_t *dst) {
	*m = (cvf_means){.sink = {.right = w, .next = row_of(0, side, h), .take = take}, .w = w, .h = h, .side = side, .dst = dst};
}

void cvf_means_of_pixels(const uint8_t *pixels, int w, int h, int side, int step, uint8_t *dst) {
	for (int k = 0; k < blocks(h, side); k++)
		make_row(pixels + (size_t)row_of(k, side, h) * w * step, w, side, step, dst + (size_t)k * blocks(w, side));
}
