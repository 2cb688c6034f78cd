#include "pack.h"

#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

// Pixels that are not side by side are first gathered, this many at a time: with vectors
// of them the rest takes half the time.
#define CVF_GATHERED 640

static void cvf_gather(const uint8_t *src, int step, int n, uint8_t *dst) {
	for (int i = 0; i < n; i++) memcpy(dst + 3 * i, src + (ptrdiff_t)i * step, 3);
}

#define T uint8_t
#define NAME pixel
#define VALUE(c, v) (v)
#include "pack_rows.h"

#define T uint16_t
#define NAME look16
#define VALUE(c, v) table[(c) * 256 + (v)]
#include "pack_rows.h"

#define T uint32_t
#define NAME look32
#define VALUE(c, v) table[(c) * 256 + (v)]
#include "pack_rows.h"

// In vectors, this is twice as fast as a table.
#define T float
#define NAME divide
#define VALUE(c, v) ((float)(v) / table[0])
#include "pack_rows.h"

#ifdef __x86_64__
// The quotient by way of the reciprocal, corrected once by the remainder. For most
// divisors the result is that of the division, several times as fast (P. Markstein,
// Computation of elementary functions on the IBM RISC System/6000 processor, 1990).
#define QUOTIENT(v, d, r, mul, fma, fnma) fma(fnma(mul(v, r), d, v), r, mul(v, r))

// Tells whether that is so for every pixel and this divisor.
__attribute__((target("avx2,fma"))) static int divides(float d) {
	__m128 divisor = _mm_set_ss(d), r = _mm_set_ss(1 / d);
	for (int i = 0; i < 256; i++) {
		__m128 v = _mm_set_ss((float)i);
		__m128 q = QUOTIENT(v, divisor, r, _mm_mul_ss, _mm_fmadd_ss, _mm_fnmadd_ss);
		if (!(_mm_cvtss_f32(q) == i / d)) return 0;
	}
	return 1;
}

// Divides eight pixels at a time: 24 bytes, in two vectors that overlap by eight. The
// tensor is written around the caches: it would fill them several times, and nobody reads
// it soon.
__attribute__((target("avx2,fma"))) static void divide_row_uncached(const uint8_t *s, int w, int reverse,
                                                                const float *table, float *d, size_t plane) {
	const __m128i low[3] = {
	    _mm_setr_epi8(0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
	    _mm_setr_epi8(1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
	    _mm_setr_epi8(2, 5, 8, 11, 14, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
	};
	const __m128i high[3] = {
	    _mm_setr_epi8(-1, -1, -1, -1, -1, -1, 10, 13, -1, -1, -1, -1, -1, -1, -1, -1),
	    _mm_setr_epi8(-1, -1, -1, -1, -1, 8, 11, 14, -1, -1, -1, -1, -1, -1, -1, -1),
	    _mm_setr_epi8(-1, -1, -1, -1, -1, 9, 12, 15, -1, -1, -1, -1, -1, -1, -1, -1),
	};
	const __m256 divisor = _mm256_set1_ps(table[0]), r = _mm256_set1_ps(1 / table[0]);
	int x = 0;
	for (; x + 8 <= w; x += 8) {
		__m128i a = _mm_loadu_si128((const __m128i *)(s + 3 * x));
		__m128i b = _mm_loadu_si128((const __m128i *)(s + 3 * x + 8));
		for (int c = 0; c < 3; c++) {
			__m128i bytes = _mm_or_si128(_mm_shuffle_epi8(a, low[c]), _mm_shuffle_epi8(b, high[c]));
			__m256 v = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
			__m256 q = QUOTIENT(v, divisor, r, _mm256_mul_ps, _mm256_fmadd_ps, _mm256_fnmadd_ps);
			_mm256_stream_ps(d + (reverse ? 2 - c : c) * plane + x, q);
		}
	}
	divide_row_planar(s + 3 * x, w - x, reverse, table, d + x, plane);
}

// Tells whether divide_row_uncached can be used: every row has to begin at an address
// for whole vectors.
static int suits_uncached(const cvf_pack_job *j, const float *table, const float *dst) {
	return j->planar && j->channels == 3 && (uintptr_t)dst % 32 == 0 && j->tw % 8 == 0 && j->left % 8 == 0 &&
	       __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2") && divides(table[0]);
}
#endif

void cvf_pack(const cvf_pack_job *job, const void *table, void *dst) {
	switch (job->kind) {
	case CVF_PIXEL:
		pixel(job, table, dst);
		break;
	case CVF_LOOK16:
		look16(job, table, dst);
		break;
	case CVF_LOOK32:
		look32(job, table, dst);
		break;
	case CVF_DIVIDE:
#ifdef __x86_64__
		if (suits_uncached(job, table, dst)) {
			divide_planar(job, table, dst, divide_row_uncached);
			_mm_sfence(); // so that other threads see what was written around the caches
			break;
		}
#endif
		divide(job, table, dst);
		break;
	}
}

// No ink is 255. A channel is key - (255 - ink) * key / 255, with the
// division rounded as Pillow's MULDIV255.
void cvf_cmyk_to_bgr(const uint8_t *src, uint8_t *dst, size_t n) {
	for (size_t i = 0; i < n; i++, src += 4, dst += 3) {
		int key = src[3];
		for (int c = 0; c < 3; c++) {
			int product = (255 - src[c]) * key + 128;
			dst[2 - c] = (uint8_t)(key - (((product >> 8) + product) >> 8));
		}
	}
}
