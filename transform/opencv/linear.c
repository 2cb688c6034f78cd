#include "linear.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "pack.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

enum {
	LINEAR,
	PICK,  // the source is an odd number of times as large: of each square, its middle pixel
	HALVE, // it is twice as large: the mean of four pixels
};

#define ONE 2048 // the weight of 1

// Room for the widest store at the end of a row.
#define PAD 8

static size_t align(size_t n) { return (n + 63) / 64 * 64; }

size_t cvf_linear_scratch(const cvf_linear *l) {
	size_t w = l->dst_w;
	return align(w * sizeof *l->column) + align(2 * w * sizeof *l->weight) +
	       2 * align((3 * w + PAD) * sizeof **l->wide);
}

// The position in the source of pixel i of the result, along one side. The types are
// OpenCV's, so that the rounding is, too.
static float position(int i, int src, int dst) {
	double scale = 1. / ((double)dst / src);
	return (float)((i + 0.5) * scale - 0.5);
}

static int16_t weight(float v) { return (int16_t)lrintf(v * ONE); }

static int clamp(int v, int last) { return v < 0 ? 0 : v > last ? last : v; }

// Finds the rows that the next row of the result is made of.
static void next_row(cvf_linear *l) {
	if (l->y == l->dst_h) {
		l->first = l->last = INT_MAX / 2; // none
		return;
	}
	switch (l->kind) {
	case PICK:
		l->first = l->last = l->y * l->factor + l->factor / 2;
		return;
	case HALVE:
		l->first = 2 * l->y;
		l->last = l->first + 1;
		return;
	}
	float at = position(l->y, l->src_h, l->dst_h), whole = floorf(at);
	l->first = clamp((int)whole, l->src_h - 1);
	l->last = clamp((int)whole + 1, l->src_h - 1);
	l->weights[0] = weight(1.f - (at - whole));
	l->weights[1] = weight(at - whole);
}

static void start_columns(cvf_linear *l) {
	for (int x = 0; x < l->dst_w; x++) {
		float at = position(x, l->src_w, l->dst_w), whole = floorf(at), part = at - whole;
		int column = (int)whole;
		if (column < 0 || column >= l->src_w - 1) {
			column = clamp(column, l->src_w - 1);
			part = 0;
		}
		l->column[x] = 3 * column;
		l->weight[2 * x] = weight(1.f - part);
		l->weight[2 * x + 1] = weight(part);
	}
}

void cvf_linear_start(cvf_linear *l, void *scratch) {
	size_t w = l->dst_w;
	char *p = scratch;
	l->column = (int32_t *)p;
	p += align(w * sizeof *l->column);
	l->weight = (int16_t *)p;
	p += align(2 * w * sizeof *l->weight);
	for (int i = 0; i < 2; i++) l->wide[i] = (int16_t *)(p + i * align((3 * w + PAD) * sizeof **l->wide));

	int n = l->src_w / l->dst_w;
	int multiple = l->src_w == n * l->dst_w && l->src_h == n * l->dst_h;
	l->factor = n;
	l->kind = multiple && n % 2 == 1 ? PICK : multiple && n == 2 ? HALVE : LINEAR;
	if (l->kind == LINEAR) start_columns(l);
	l->y = 0;
	next_row(l);
}

// Resizes a row of the source to the result's width, from pixel x of the result on. OpenCV
// drops the lowest bits of the sums when it uses them. Dropped here, they make the sums
// fit into 16 bits.
static void widen_from(int x, const cvf_linear *l, const uint8_t *src, int16_t *restrict dst) {
	for (dst += 3 * x; x < l->dst_w; x++, dst += 3) {
		const uint8_t *s = src + l->column[x];
		const int16_t *w = l->weight + 2 * x;
#ifdef __SSE2__
		int32_t both;
		memcpy(&both, w, sizeof both);
		__m128i two = _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)s), _mm_setzero_si128());
		__m128i pairs = _mm_unpacklo_epi16(two, _mm_srli_si128(two, 6));
		__m128i sums = _mm_srai_epi32(_mm_madd_epi16(pairs, _mm_set1_epi32(both)), 4);
		_mm_storel_epi64((__m128i *)dst, _mm_packs_epi32(sums, sums));
#else
		for (int c = 0; c < 3; c++) dst[c] = (int16_t)((s[c] * w[0] + s[3 + c] * w[1]) >> 4);
#endif
	}
}

#ifdef __SSE2__
// Does the same for two pixels at a time, one in each half of a vector.
__attribute__((target("avx2"))) static void widen_twice(const cvf_linear *l, const uint8_t *src,
                                                        int16_t *restrict dst) {
	const __m256i halves = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
	const __m256i pairs = _mm256_broadcastsi128_si256(
	    _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
	int x = 0;
	for (int16_t *d = dst; x + 1 < l->dst_w; x += 2, d += 6) {
		__m128i a = _mm_loadl_epi64((const __m128i *)(src + l->column[x]));
		__m128i b = _mm_loadl_epi64((const __m128i *)(src + l->column[x + 1]));
		__m128i both = _mm_loadl_epi64((const __m128i *)(l->weight + 2 * x));
		__m256i pixels = _mm256_shuffle_epi8(_mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1), pairs);
		__m256i weights = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(both), halves);
		__m256i sums = _mm256_srai_epi32(_mm256_madd_epi16(pixels, weights), 4);
		sums = _mm256_packs_epi32(sums, sums);
		_mm_storel_epi64((__m128i *)d, _mm256_castsi256_si128(sums));
		_mm_storel_epi64((__m128i *)(d + 3), _mm256_extracti128_si256(sums, 1));
	}
	widen_from(x, l, src, dst);
}
#endif

static void widen(const cvf_linear *l, const uint8_t *src, int16_t *dst) {
#ifdef __SSE2__
	if (__builtin_cpu_supports("avx2")) {
		widen_twice(l, src, dst);
		return;
	}
#endif
	widen_from(0, l, src, dst);
}

CVF_CLONES static void blend(const int16_t *restrict a, const int16_t *restrict b, int16_t wa,
                             int16_t wb, int n, uint8_t *restrict dst) {
	for (int i = 0; i < n; i++) {
		int16_t v = (int16_t)((a[i] * wa) >> 16) + (int16_t)((b[i] * wb) >> 16);
		dst[i] = (uint8_t)((v + 2) >> 2);
	}
}

static void pick(const uint8_t *src, int factor, int w, uint8_t *dst) {
	src += factor / 2 * 3;
	// Copying four bytes is faster than copying three.
	for (int x = 0; x < w; x++, src += 3 * factor, dst += 3) memcpy(dst, src, 4);
}

CVF_CLONES static void halve(const uint8_t *a, const uint8_t *b, int w, uint8_t *dst) {
	int x = 0;
#if defined(__GNUC__) && !defined(__clang__)
	// Two pixels of the result at a time, of four pixels in each row.
	typedef uint8_t bytes __attribute__((vector_size(16)));
	typedef uint16_t words __attribute__((vector_size(16)));
	const bytes pairs = {0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11, 12, 12, 12, 12};
	const bytes low = {0, 2, 4, 6, 8, 10, 12, 14, 0, 0, 0, 0, 0, 0, 0, 0};
	for (; x + 1 < w; x += 2) {
		bytes va, vb;
		memcpy(&va, a + 6 * x, sizeof va);
		memcpy(&vb, b + 6 * x, sizeof vb);
		words wa = (words)__builtin_shuffle(va, pairs), wb = (words)__builtin_shuffle(vb, pairs);
		words sum = (wa & 255) + (wa >> 8) + (wb & 255) + (wb >> 8);
		bytes mean = __builtin_shuffle((bytes)((sum + 2) >> 2), low);
		memcpy(dst + 3 * x, &mean, 8);
	}
#endif
	for (; x < w; x++)
		for (int c = 0; c < 3; c++) {
			int i = 6 * x + c;
			dst[3 * x + c] = (uint8_t)((a[i] + a[i + 3] + b[i] + b[i + 3] + 2) >> 2);
		}
}

void cvf_linear_rows(cvf_linear *l, const uint8_t *const rows[2], int y, uint8_t *dst) {
	if (l->kind == LINEAR && (y == l->first || y == l->last)) widen(l, rows[y & 1], l->wide[y & 1]);
	for (; l->last == y; next_row(l)) {
		uint8_t *d = dst + 3 * (size_t)l->y++ * l->dst_w;
		switch (l->kind) {
		case PICK:
			pick(rows[y & 1], l->factor, l->dst_w, d);
			break;
		case HALVE:
			halve(rows[l->first & 1], rows[y & 1], l->dst_w, d);
			break;
		default:
			blend(l->wide[l->first & 1], l->wide[y & 1], l->weights[0], l->weights[1], 3 * l->dst_w, d);
		}
	}
}
