#include "linear.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "pack.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

enum {
	WEIGH,
	PICK,  // the source is an odd number of times as large: of each square, its middle pixel
	HALVE, // it is twice as large: the mean of four pixels
};

#define ONE 2048 // the weight of 1

// Room for the widest store at the end of a row.
#define PAD 8

typedef struct {
	cvf_sink sink;
	cvf_resize job;

	int kind;           // how: see above
	int factor;         // the source's sides divided by the result's
	int y;              // the row of the result that comes next
	int first, last;    // the rows of the source that it is made of: one, or two neighbours
	int16_t weights[2]; // the weights of first and last
	int32_t *column;    // for each pixel of a row, the offset of the two that it is made of
	int16_t *weight;    // and the weights of these two
	int16_t *wide[2];   // two rows of the source, resized to the result's width, times 128
	uint8_t *row;       // the first of two rows that are halved
} linear;

static size_t align(size_t n) { return (n + 63) / 64 * 64; }

size_t cvf_linear_scratch(const cvf_resize *r) {
	size_t w = r->vw;
	return align(sizeof(linear)) + align(w * sizeof(int32_t)) + align(2 * w * sizeof(int16_t)) +
	       2 * align((3 * w + PAD) * sizeof(int16_t)) + align(8 * w + CVF_SINK_BEHIND);
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
static void next_row(linear *l) {
	if (l->y == l->job.vy + l->job.vh) {
		l->first = l->last = INT_MAX; // none
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
	float at = position(l->y, l->job.h, l->job.full_h), whole = floorf(at);
	l->first = clamp((int)whole, l->job.h - 1);
	l->last = clamp((int)whole + 1, l->job.h - 1);
	l->weights[0] = weight(1.f - (at - whole));
	l->weights[1] = weight(at - whole);
}

// The columns of the source that pixel x of the result is made of are this one and, where
// it has a weight, the next.
static int column(const linear *l, int x, float *part) {
	float at = position(x, l->job.w, l->job.full_w), whole = floorf(at);
	*part = at - whole;
	if (whole >= 0 && whole < l->job.w - 1) return (int)whole;
	*part = 0;
	return clamp((int)whole, l->job.w - 1);
}

static void start_columns(linear *l) {
	const cvf_resize *r = &l->job;
	float part;
	int left = column(l, r->vx, &part), right = column(l, r->vx + r->vw - 1, &part) + 2;
	l->sink.left = left;
	l->sink.right = right < r->w ? right : r->w;
	for (int x = 0; x < r->vw; x++) {
		l->column[x] = 4 * (column(l, r->vx + x, &part) - left);
		l->weight[2 * x] = weight(1.f - part);
		l->weight[2 * x + 1] = weight(part);
	}
}

// Resizes a row of the source to the result's width, from pixel x of the result on. OpenCV
// drops the lowest bits of the sums when it uses them. Dropped here, they make the sums
// fit into 16 bits.
static void widen_from(int x, const linear *l, const uint8_t *src, int16_t *restrict dst) {
	for (dst += 3 * x; x < l->job.vw; x++, dst += 3) {
		const uint8_t *s = src + l->column[x];
		const int16_t *w = l->weight + 2 * x;
#ifdef __SSE2__
		int32_t both;
		memcpy(&both, w, sizeof both);
		__m128i two = _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)s), _mm_setzero_si128());
		__m128i pairs = _mm_unpacklo_epi16(two, _mm_srli_si128(two, 8));
		__m128i sums = _mm_srai_epi32(_mm_madd_epi16(pairs, _mm_set1_epi32(both)), 4);
		_mm_storel_epi64((__m128i *)dst, _mm_packs_epi32(sums, sums));
#else
		for (int c = 0; c < 3; c++) dst[c] = (int16_t)((s[c] * w[0] + s[4 + c] * w[1]) >> 4);
#endif
	}
}

#ifdef __SSE2__
// Does the same for two pixels at a time, one in each half of a vector.
__attribute__((target("avx2"))) static void widen_twice(const linear *l, const uint8_t *src, int16_t *restrict dst) {
	const __m256i halves = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
	const __m256i pairs = _mm256_broadcastsi128_si256(
	    _mm_setr_epi8(0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, -1, -1, -1, -1));
	int x = 0;
	for (int16_t *d = dst; x + 1 < l->job.vw; x += 2, d += 6) {
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

static void widen(const linear *l, const uint8_t *src, int16_t *dst) {
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

// Copying four bytes is faster than copying three.
static void pick(const uint8_t *src, int factor, int w, uint8_t *dst) {
	for (int x = 0; x < w; x++, src += 4 * factor, dst += 3) memcpy(dst, src, 4);
}

CVF_CLONES static void halve(const uint8_t *a, const uint8_t *b, int w, uint8_t *dst) {
	int x = 0;
#if defined(__GNUC__) && !defined(__clang__)
	// Two pixels of the result at a time, of four pixels in each row.
	typedef uint8_t bytes __attribute__((vector_size(16)));
	typedef uint16_t words __attribute__((vector_size(16)));
	const bytes pairs = {0, 4, 1, 5, 2, 6, 8, 12, 9, 13, 10, 14, 15, 15, 15, 15};
	const bytes low = {0, 2, 4, 6, 8, 10, 12, 14, 0, 0, 0, 0, 0, 0, 0, 0};
	for (; x + 1 < w; x += 2) {
		bytes va, vb;
		memcpy(&va, a + 8 * x, sizeof va);
		memcpy(&vb, b + 8 * x, sizeof vb);
		words wa = (words)__builtin_shuffle(va, pairs), wb = (words)__builtin_shuffle(vb, pairs);
		words sum = (wa & 255) + (wa >> 8) + (wb & 255) + (wb >> 8);
		bytes mean = __builtin_shuffle((bytes)((sum + 2) >> 2), low);
		memcpy(dst + 3 * x, &mean, 8);
	}
#endif
	for (; x < w; x++)
		for (int c = 0; c < 3; c++) {
			int i = 8 * x + c;
			dst[3 * x + c] = (uint8_t)((a[i] + a[i + 4] + b[i] + b[i + 4] + 2) >> 2);
		}
}

static void make_row(linear *l, const uint8_t *row, int y) {
	const cvf_resize *r = &l->job;
	uint8_t *dst = r->dst + 3 * (size_t)(l->y++ - r->vy) * r->vw;
	switch (l->kind) {
	case PICK:
		pick(row, l->factor, r->vw, dst);
		break;
	case HALVE:
		halve(l->row, row, r->vw, dst);
		break;
	default:
		blend(l->wide[l->first & 1], l->wide[y & 1], l->weights[0], l->weights[1], 3 * r->vw, dst);
	}
	next_row(l);
}

static void take(cvf_sink *sink, const uint8_t *row) {
	linear *l = (linear *)sink;
	int y = sink->next - l->job.y;
	if (l->kind == WEIGH) widen(l, row, l->wide[y & 1]);
	if (l->kind == HALVE && y == l->first) memcpy(l->row, row, 8 * (size_t)l->job.vw);
	while (l->last == y) make_row(l, row, y);
	int next = l->first > y ? l->first : l->last;
	sink->next = next == INT_MAX ? next : l->job.y + next;
}

cvf_sink *cvf_linear_start(const cvf_resize *r, void *scratch) {
	size_t w = r->vw;
	char *p = scratch;
	linear *l = (linear *)p;
	p += align(sizeof *l);
	*l = (linear){.job = *r, .y = r->vy};
	l->column = (int32_t *)p;
	p += align(w * sizeof *l->column);
	l->weight = (int16_t *)p;
	p += align(2 * w * sizeof *l->weight);
	for (int i = 0; i < 2; i++, p += align((3 * w + PAD) * sizeof **l->wide)) l->wide[i] = (int16_t *)p;
	l->row = (uint8_t *)p;

	int n = r->w / r->full_w;
	int multiple = r->w == n * r->full_w && r->h == n * r->full_h;
	l->factor = n;
	l->kind = multiple && n % 2 == 1 ? PICK : multiple && n == 2 ? HALVE : WEIGH;
	if (l->kind == WEIGH) {
		start_columns(l);
	} else {
		int middle = l->kind == PICK ? n / 2 : 0;
		l->sink.left = r->vx * n + middle;
		l->sink.right = (r->vx + r->vw - 1) * n + (l->kind == PICK ? middle + 1 : 2);
	}
	l->sink.left += r->x;
	l->sink.right += r->x;
	l->sink.take = take;
	next_row(l);
	l->sink.next = r->y + l->first;
	return &l->sink;
}
