#include "decode_kernels.h"

#include <string.h>

#define INLINE __attribute__((always_inline)) static inline

enum { ONE_BITS = 13, BETWEEN_BITS = 2 };

const int16_t cvf_dct_weights[CVF_DCT_MAX + 1][CVF_DCT_MAX / 2][8] = {
    [2] =
        {
            {16384, 0, 0, 0, 29692, -10426, 6967, -5906},
        },
    [3] =
        {
            {8192, 5793, 0, 0, 10033, 0, 0, 0},
            {8192, -11586, 0, 0, 0, 0, 0, 0},
        },
    [4] =
        {
            {16384, 15137, 0, -6270, 20995, 7373, -4926, -4176},
            {16384, -15137, 0, 6270, 8697, -17799, 11893, -1730},
        },
    [5] =
        {
            {8192, 9372, 3580, 0, 11019, 6810, 0, 0},
            {8192, -3580, -9372, 0, 6810, -11018, 0, 0},
            {8192, -11584, 11584, 0, 0, 0, 0, 0},
        },
    [6] =
        {
            {8192, 10033, 5793, 0, 11190, 8192, 2998, 0},
            {8192, 0, -11586, 0, 8192, -8192, -8192, 0},
            {8192, -10033, 5793, 0, 2998, -8192, 11190, 0},
        },
    [7] =
        {
            {8192, 10438, 7223, 2578, 11295, 9058, 5027, 0},
            {8192, 2578, -10438, -7223, 9058, -5027, -11295, 0},
            {8192, -7223, -2578, 10438, 5027, -11295, 9058, 0},
            {8192, -11585, 11585, -11585, 0, 0, 0, 0},
        },
    [8] =
        {
            {8192, 10703, 8192, 4433, 11363, 9633, 6437, 2260},
            {8192, 4433, -8192, -10704, 9633, -2259, -11362, -6436},
            {8192, -4433, -8192, 10704, 6437, -11362, 2261, 9633},
            {8192, -10703, 8192, -4433, 2260, -6436, 9633, -11363},
        },
    [10] =
        {
            {8192, 11019, 9373, 6810, 11443, 10322, 8192, 5260},
            {8192, 6810, -3580, -11018, 10323, 1812, -8192, -11442},
            {8192, 0, -11586, 0, 8192, -8192, -8192, 8192},
            {8192, -6810, -3580, 11018, 5260, -11442, 8192, 1812},
            {8192, -11019, 9373, -6810, 1812, -5260, 8192, -10322},
        },
    [12] =
        {
            {8192, 11190, 10033, 8192, 11487, 10703, 9192, 7053},
            {8192, 8192, 0, -8192, 10703, 4433, -4433, -10703},
            {8192, 2998, -10033, -8192, 9192, -4433, -11485, -1512},
            {8192, -2998, -10033, 8192, 7053, -10703, -1512, 11486},
            {8192, -8192, 0, 8192, 4433, -10704, 10704, -4433},
            {8192, -11190, 10033, -8192, 1513, -4433, 7053, -9191},
        },
    [14] =
        {
            {8192, 11295, 10438, 9058, 11513, 10935, 9810, 8192},
            {8192, 9058, 2578, -5026, 10935, 6164, -1297, -8192},
            {8192, 5027, -7223, -11295, 9810, -1297, -10934, -8192},
            {8192, 0, -11586, 0, 8192, -8192, -8192, 8192},
            {8192, -5027, -7223, 11295, 6164, -11512, 3826, 8192},
            {8192, -9058, 2578, 5026, 3826, -9809, 11512, -8192},
            {8192, -11295, 10438, -9058, 1297, -3826, 6164, -8192},
        },
};

// The bits by which the sums of a size have more than those of size 8.
INLINE int more_bits(int size) { return size == 4 ? 1 : size == 2 ? 2 : 0; }

// One column or row of a block: adds up the products, and writes all samples to dst.
INLINE void one(const int size, const int32_t *src, int step, int shift, int32_t *dst, int dst_step) {
	for (int y = 0; y < (size + 1) / 2; y++) {
		const int16_t *w = cvf_dct_weights[size][y];
		int32_t even = 0, odd = 0;
		for (int k = 0; k < 4; k++) {
			even += src[k * step] * w[k];
			odd += src[(k + 4) * step] * w[k + 4];
		}
		even = even * (size == 2 ? 2 : 1) + (1 << (shift - 1));
		dst[y * dst_step] = (even + odd) >> shift;
		dst[(size - 1 - y) * dst_step] = (even - odd) >> shift;
	}
}

INLINE uint8_t clip(int v) { return (uint8_t)(v < -128 ? 0 : v > 127 ? 255 : v + 128); }
INLINE int out_of(int32_t v, int limit) { return v < -limit || v > limit; }

// The rows of a block come in the order of its columns, so that both passes are alike.
INLINE int block_of(const int size, const cvf_dct *d, const int16_t *block, unsigned rows, uint8_t *dst,
                    ptrdiff_t stride) {
	int32_t in[64], between[CVF_DCT_MAX * 8], out[CVF_DCT_MAX];
	int wrong = 0, down = ONE_BITS - BETWEEN_BITS + more_bits(size);
	for (int v = 0; v < 8; v++)
		for (int u = 0; u < 8; u++) {
			int i = 8 * v + u;
			wrong |= out_of(block[i], d->limits[i]);
			in[CVF_COEFFICIENT(0, v) * 8 + u] = block[i] * d->factors[i];
		}
	if (wrong) return 1;
	for (int u = 0; u < 8; u++) one(size, in + u, 8, down, between + u, 8);
	down = ONE_BITS + BETWEEN_BITS + 3 + more_bits(size);
	for (int y = 0; y < size; y++) {
		if (!(rows >> y & 1)) continue;
		for (int u = 0; u < 8; u++) wrong |= out_of(between[8 * y + u], CVF_DCT_BETWEEN);
		if (wrong) return 1;
		one(size, between + 8 * y, 1, down, out, 1);
		for (int x = 0; x < size; x++) {
			wrong |= out_of(out[x], CVF_DCT_SAMPLE);
			dst[y * stride + x] = clip(out[x]);
		}
	}
	return wrong;
}

// A block of which all coefficients but the first are 0.
INLINE int flat(const cvf_dct *d, int coefficient, unsigned rows, uint8_t *dst, ptrdiff_t stride) {
	if (out_of(coefficient, d->limits[0])) return 1;
	uint8_t v = clip((coefficient * d->factors[0] + 4) >> 3);
	for (int y = 0; y < d->size; y++)
		if (rows >> y & 1) memset(dst + y * stride, v, d->size);
	return 0;
}

cvf_dct_rows cvf_dct_rows_of(int size, unsigned mask) {
	cvf_dct_rows rows = {.mask = mask};
	for (int y = 0; y < size; y++)
		if (mask >> y & 1) rows.list[rows.count++] = (uint8_t)y;
	for (int i = 0; rows.count && i < 4; i++) rows.list[rows.count + i] = rows.list[rows.count - 1];
	return rows;
}

static void prepare(cvf_dct *d) { (void)d; }

#define IDCT(n) \
	static int idct##n(const cvf_dct *d, const cvf_dct_rows *rows, const int16_t *block, int last, uint8_t *dst, \
	                   ptrdiff_t stride) { \
		return last && n > 1 ? block_of(n, d, block, rows->mask, dst, stride) : flat(d, block[0], rows->mask, dst, stride); \
	}
IDCT(1)
IDCT(2)
IDCT(3)
IDCT(4)
IDCT(5)
IDCT(6)
IDCT(7)
IDCT(8)
IDCT(10)
IDCT(12)
IDCT(14)
#undef IDCT

static cvf_idct *idct(int size, const cvf_dct_rows *rows) {
	static cvf_idct *const all[CVF_DCT_MAX + 1] = {
	    [1] = idct1, [2] = idct2, [3] = idct3,   [4] = idct4,   [5] = idct5,   [6] = idct6,
	    [7] = idct7, [8] = idct8, [10] = idct10, [12] = idct12, [14] = idct14,
	};
	(void)rows;
	return all[size];
}

// libjpeg's "fancy" upsampling: the nearer sample counts three times as much as the farther
// one. Where a sum lies in the middle between two numbers, samples are rounded up and down
// in turns.
static void h2v1(const uint8_t *a, int n, uint8_t *dst) {
	for (int i = 0; i < n; i++) {
		dst[2 * i] = (uint8_t)((3 * a[i] + a[i - 1] + 1) >> 2);
		dst[2 * i + 1] = (uint8_t)((3 * a[i] + a[i + 1] + 2) >> 2);
	}
}

static void h2v2(const uint8_t *a, const uint8_t *b, int n, uint8_t *dst) {
	for (int i = 0; i < n; i++) {
		int before = 3 * a[i - 1] + b[i - 1], here = 3 * a[i] + b[i], behind = 3 * a[i + 1] + b[i + 1];
		dst[2 * i] = (uint8_t)((3 * here + before + 8) >> 4);
		dst[2 * i + 1] = (uint8_t)((3 * here + behind + 7) >> 4);
	}
}

static void h1v2(const uint8_t *a, const uint8_t *b, int bias, int n, uint8_t *dst) {
	for (int i = 0; i < n; i++) dst[i] = (uint8_t)((3 * a[i] + b[i] + bias) >> 2);
}

static void h2v2_third(const uint8_t *a, const uint8_t *b, int first, int n, uint8_t *dst) {
	for (int i = 0, x = first; i < n; i++, x += 3) {
		int near = x / 2, far = x & 1 ? near + 1 : near - 1;
		dst[i] = (uint8_t)((3 * (3 * a[near] + b[near]) + 3 * a[far] + b[far] + (x & 1 ? 7 : 8)) >> 4);
	}
}

static void thin(const uint8_t *src, int step, int n, uint8_t *dst) {
	for (int i = 0; i < n; i++) dst[i] = src[(ptrdiff_t)i * step];
}

INLINE uint8_t clip_color(int v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); }

// The formula of JFIF, with libjpeg's fractions of 16 bits.
static void ycc(const uint8_t *y, const uint8_t *cb, const uint8_t *cr, int n, uint8_t *dst) {
	for (int i = 0; i < n; i++, dst += 4) {
		int b = cb[i] - 128, r = cr[i] - 128, half = 1 << 15;
		dst[0] = clip_color(y[i] + ((116130 * b + half) >> 16));
		dst[1] = clip_color(y[i] + ((-22554 * b - 46802 * r + half) >> 16));
		dst[2] = clip_color(y[i] + ((91881 * r + half) >> 16));
		dst[3] = 0;
	}
}

static void rgb(const uint8_t *r, const uint8_t *g, const uint8_t *b, int n, uint8_t *dst) {
	for (int i = 0; i < n; i++, dst += 4) {
		dst[0] = b[i];
		dst[1] = g[i];
		dst[2] = r[i];
		dst[3] = 0;
	}
}

const cvf_decode_kernels cvf_decode_c = CVF_DECODE_KERNELS;
