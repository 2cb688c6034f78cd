#include "decode_check.h"

#include <string.h>

enum { BLOCKS = 9, WIDTH = 150, ROOM = 4 * (WIDTH + CVF_DECODE_BEHIND) + CVF_DECODE_BEHIND };

// What is random (xorshift64).
static uint64_t next(uint64_t *state) {
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

static int below(uint64_t *state, int n) { return (int)(next(state) >> 33) % n; }

static void fill(uint64_t *state, uint8_t *p, int n) {
	int extreme = below(state, 3) == 0;
	for (int i = 0; i < n; i++) p[i] = extreme ? (uint8_t)(below(state, 2) * 255) : (uint8_t)next(state);
}

// The blocks of a row: with nothing but the first coefficient, with a few, or with all.
typedef struct {
	cvf_dct dct;
	_Alignas(64) int16_t blocks[BLOCKS][64];
	uint8_t ends[BLOCKS];
	int large; // the largest coefficient after quantization
} row;

static void fill_block(uint64_t *state, row *r, int i) {
	int kind = below(state, 3);
	r->ends[i] = kind == 0 ? 0 : kind == 1 ? 9 : 63;
	for (int v = 0; v < 8; v++)
		for (int u = 0; u < 8; u++) {
			int at = CVF_COEFFICIENT(v, u), most = r->large / r->dct.factors[at];
			int zero = kind == 0 ? v + u > 0 : kind == 1 ? v + u > 3 : below(state, 2);
			// The weight of a block's coefficients adds up.
			most /= 1 + v + u;
			r->blocks[i][at] = (int16_t)(zero ? 0 : below(state, 2 * most + 1) - most);
		}
}

static void fill_row(uint64_t *state, row *r, int size) {
	r->dct.size = size;
	r->large = 1 << (4 + below(state, 9));
	for (int i = 0; i < 64; i++) {
		r->dct.factors[i] = (int16_t)(1 + below(state, 1 << below(state, 9)));
		r->dct.limits[i] = (int16_t)(CVF_DCT_COEFFICIENT / r->dct.factors[i]);
	}
	for (int i = 0; i < BLOCKS; i++) fill_block(state, r, i);
}

// Transforms all blocks of a row. Returns whether a number was out of range.
static int transform(const cvf_decode_kernels *k, row *r, unsigned mask, uint8_t *dst, int stride) {
	cvf_dct_rows rows = cvf_dct_rows_of(r->dct.size, mask);
	int wrong = 0;
	cvf_idct *idct = k->idct(r->dct.size, &rows);
	k->prepare(&r->dct);
	for (int i = 0; i < BLOCKS; i++) wrong |= idct(&r->dct, &rows, r->blocks[i], r->ends[i], dst + i * r->dct.size, stride);
	return wrong;
}

static int idct_differs(const cvf_decode_kernels *k, uint64_t *state, int size) {
	static const int stride = BLOCKS * CVF_DCT_MAX + CVF_DECODE_BEHIND;
	row r;
	fill_row(state, &r, size);
	unsigned rows = below(state, 2) ? ~0u : (unsigned)next(state) | 1u << below(state, size);
	uint8_t a[CVF_DCT_MAX * (BLOCKS * CVF_DCT_MAX + CVF_DECODE_BEHIND)], b[sizeof a];
	int wrong = transform(k, &r, rows, a, stride), right = transform(&cvf_decode_c, &r, rows, b, stride);
	// A row that is not needed may be made, and may be out of range.
	if (rows == ~0u ? wrong != right : right && !wrong) return 1;
	for (int y = 0; y < size && !wrong; y++)
		if (rows >> y & 1 && memcmp(a + y * stride, b + y * stride, (size_t)BLOCKS * size)) return 1;
	return 0;
}

static const char *rows_differ(const cvf_decode_kernels *k, uint64_t *state, int n) {
	uint8_t in[3][2 * WIDTH + 2 * CVF_DECODE_BEHIND], a[ROOM], b[ROOM];
	for (int i = 0; i < 3; i++) fill(state, in[i], sizeof in[i]);
	const uint8_t *x = in[0] + CVF_DECODE_BEHIND, *y = in[1] + CVF_DECODE_BEHIND, *z = in[2] + CVF_DECODE_BEHIND;
	k->h2v1(x, n, a), cvf_decode_c.h2v1(x, n, b);
	if (memcmp(a, b, 2 * (size_t)n)) return "h2v1";
	k->h2v2(x, y, n, a), cvf_decode_c.h2v2(x, y, n, b);
	if (memcmp(a, b, 2 * (size_t)n)) return "h2v2";
	for (int bias = 1; bias <= 2; bias++) {
		k->h1v2(x, y, bias, n, a), cvf_decode_c.h1v2(x, y, bias, n, b);
		if (memcmp(a, b, (size_t)n)) return "h1v2";
	}
	for (int first = 0; first <= 1; first++) {
		k->h2v2_third(x, y, first, n, a), cvf_decode_c.h2v2_third(x, y, first, n, b);
		if (memcmp(a, b, (size_t)n)) return "h2v2_third";
	}
	for (int step = 1; step <= 5; step++) {
		k->thin(x, step, n / step, a), cvf_decode_c.thin(x, step, n / step, b);
		if (memcmp(a, b, (size_t)(n / step))) return "thin";
	}
	k->ycc(x, y, z, n, a), cvf_decode_c.ycc(x, y, z, n, b);
	for (int i = 0; i < 4 * n; i++)
		if (i % 4 < 3 && a[i] != b[i]) return "ycc";
	k->rgb(x, y, z, n, a), cvf_decode_c.rgb(x, y, z, n, b);
	for (int i = 0; i < 4 * n; i++)
		if (i % 4 < 3 && a[i] != b[i]) return "rgb";
	return NULL;
}

const char *cvf_decode_check(const cvf_decode_kernels *kernels, uint64_t seed) {
	static const int sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14};
	uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
	for (int i = 0; i < 20; i++)
		for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
			if (idct_differs(kernels, &state, sizes[k])) return "idct";
	for (int n = 1; n <= WIDTH; n++) {
		const char *name = rows_differ(kernels, &state, n);
		if (name) return name;
	}
	return NULL;
}
