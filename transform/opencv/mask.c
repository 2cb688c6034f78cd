#include "mask.h"

#include <string.h>

static int max(int a, int b) { return a > b ? a : b; }
static int min(int a, int b) { return a < b ? a : b; }

// Returns how many of every across-th columns from left on are before column x.
static int columns_before(int x, int left, int across) { return x <= left ? 0 : (x - left + across - 1) / across; }

void cvf_mask_row(const cvf_mask *m, int y, int left, int right, int across, uint8_t *row) {
	across = max(across, 1);
	for (const cvf_span *s = m->spans + m->rows[y], *end = m->spans + m->rows[y + 1]; s < end; s++) {
		int to = columns_before(min(s->to, right), left, across);
		for (int i = columns_before(s->from, left, across); i < to; i++) memcpy(row + 4 * (ptrdiff_t)i, s->bgr, 4);
	}
}

void cvf_mask_picture(const cvf_mask *m, uint8_t *pixels, ptrdiff_t stride) {
	for (int y = 0; y < m->h; y++)
		for (const cvf_span *s = m->spans + m->rows[y], *end = m->spans + m->rows[y + 1]; s < end; s++)
			for (int x = s->from; x < s->to; x++) memcpy(pixels + y * stride + 3 * (ptrdiff_t)x, s->bgr, 3);
}

void cvf_mosaic(const cvf_block *blocks, size_t count, int side, uint8_t *pixels, ptrdiff_t stride, int w, int h) {
	for (const cvf_block *b = blocks; b < blocks + count; b++) {
		int left = (int)b->x * side, top = (int)b->y * side, right = min(left + side, w), bottom = min(top + side, h);
		uint32_t sums[3] = {0}, n = (uint32_t)((right - left) * (bottom - top)); // of at most 512x512
		for (int y = top; y < bottom; y++)
			for (const uint8_t *p = pixels + y * stride + 3 * left; p < pixels + y * stride + 3 * right; p += 3)
				for (int c = 0; c < 3; c++) sums[c] += p[c];
		uint8_t mean[3];
		for (int c = 0; c < 3; c++) mean[c] = (uint8_t)((sums[c] + n / 2) / n);
		for (int y = top; y < bottom; y++)
			for (int x = left; x < right; x++) memcpy(pixels + y * stride + 3 * (ptrdiff_t)x, mean, 3);
	}
}
