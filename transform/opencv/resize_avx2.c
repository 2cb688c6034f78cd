#ifdef __x86_64__

#include <immintrin.h>
#include <string.h>

#include "resize_kernels.h"

#define AVX2 __attribute__((target("avx2")))
#define FMA __attribute__((target("avx2,fma,f16c")))

AVX2 static inline __m256i load(const void *p) { return _mm256_loadu_si256(p); }
AVX2 static inline __m256i twice(const void *p) { return _mm256_broadcastsi128_si256(_mm_loadu_si128(p)); }

// The sums of two rows, with the low halves of the taps and with the high ones.
typedef struct {
	__m256i low0, high0, low1, high1;
} sums;

// Sums the groups of taps for the pixels of two rows. Each lane holds two pixels, as pairs of 16
// bits for each channel. Two rows at a time leave registers for all that is needed.
AVX2 static inline sums sum_two(const cvf_taps *taps, int groups, const uint8_t *row0, const uint8_t *row1) {
	const __m256i pairs = _mm256_setr_epi8(0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1,
	                                       8, -1, 12, -1, 9, -1, 13, -1, 10, -1, 14, -1, 11, -1, 15, -1);
	const __m256i lows = _mm256_setr_epi8(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3,
	                                      4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
	const __m256i highs = _mm256_add_epi8(lows, _mm256_set1_epi8(8));
	const __m256i half = _mm256_zextsi128_si256(_mm_set1_epi32(1 << (CVF_TAP_BITS - 1)));
	sums s = {half, _mm256_setzero_si256(), half, _mm256_setzero_si256()};
	do {
		__m256i k = twice(taps), kl = _mm256_shuffle_epi8(k, lows), kh = _mm256_shuffle_epi8(k, highs);
		__m256i v0 = _mm256_shuffle_epi8(twice(row0), pairs), v1 = _mm256_shuffle_epi8(twice(row1), pairs);
		s.low0 = _mm256_add_epi32(s.low0, _mm256_madd_epi16(v0, kl));
		s.high0 = _mm256_add_epi32(s.high0, _mm256_madd_epi16(v0, kh));
		s.low1 = _mm256_add_epi32(s.low1, _mm256_madd_epi16(v1, kl));
		s.high1 = _mm256_add_epi32(s.high1, _mm256_madd_epi16(v1, kh));
		row0 += 16;
		row1 += 16;
		taps++;
	} while (--groups > 0);
	return s;
}

// The rounded sums of two rows, one in each lane.
AVX2 static inline __m256i finish_two(sums s) {
	__m256i a = _mm256_add_epi32(s.low0, _mm256_slli_epi32(s.high0, 15));
	__m256i b = _mm256_add_epi32(s.low1, _mm256_slli_epi32(s.high1, 15));
	__m256i both = _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
	return _mm256_srai_epi32(both, CVF_TAP_BITS);
}

// The size is a constant where it is called.
AVX2 static inline void store_four(uint8_t *d0, uint8_t *d1, uint8_t *d2, uint8_t *d3, const int32_t pixels[4], size_t size) {
	memcpy(d0, &pixels[0], size);
	memcpy(d1, &pixels[1], size);
	memcpy(d2, &pixels[2], size);
	memcpy(d3, &pixels[3], size);
}

AVX2 static void across(const cvf_across *a, const uint8_t *const rows[4], uint8_t *const dst[4], int step) {
	const cvf_taps *taps = a->taps;
	const uint8_t *const r0 = rows[0], *const r1 = rows[1], *const r2 = rows[2], *const r3 = rows[3];
	uint8_t *d0 = dst[0], *d1 = dst[1], *d2 = dst[2], *d3 = dst[3];
	for (int i = 0; i < a->count; i++, d0 += step, d1 += step, d2 += step, d3 += step) {
		ptrdiff_t at = a->start[i];
		int groups = a->groups[i];
		__m256i first = finish_two(sum_two(taps, groups, r0 + at, r1 + at));
		__m256i second = finish_two(sum_two(taps, groups, r2 + at, r3 + at));
		taps += groups;
		__m256i words = _mm256_packs_epi32(first, second), bytes = _mm256_packus_epi16(words, words);
		__m128i even = _mm256_castsi256_si128(bytes), odd = _mm256_extracti128_si256(bytes, 1);
		int32_t p0 = _mm_cvtsi128_si32(even), p1 = _mm_cvtsi128_si32(odd);
		int32_t p2 = _mm_extract_epi32(even, 1), p3 = _mm_extract_epi32(odd, 1);
		// Behind the last pixel there may be another row.
		if (step == 4 || i < a->count - 1)
			store_four(d0, d1, d2, d3, (int32_t[]){p0, p1, p2, p3}, 4);
		else
			store_four(d0, d1, d2, d3, (int32_t[]){p0, p1, p2, p3}, 3);
	}
}

AVX2 static void down(const cvf_taps *taps, int groups, const uint8_t *const *rows, int n, uint8_t *dst) {
	const __m256i zero = _mm256_setzero_si256();
	for (int x = 0; x < n; x += 32) {
		__m256i low[4], high[4];
		for (int i = 0; i < 4; i++) low[i] = _mm256_set1_epi32(1 << (CVF_TAP_BITS - 1)), high[i] = zero;
		for (int t = 0; t < 4 * groups; t += 2) {
			int32_t pair;
			memcpy(&pair, &taps[t / 4].low[t % 4], sizeof pair);
			__m256i kl = _mm256_set1_epi32(pair);
			memcpy(&pair, &taps[t / 4].high[t % 4], sizeof pair);
			__m256i kh = _mm256_set1_epi32(pair);
			__m256i a = load(rows[t] + x), b = load(rows[t + 1] + x);
			__m256i ab[2] = {_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b)};
			for (int i = 0; i < 4; i++) {
				__m256i v = i % 2 ? _mm256_unpackhi_epi8(ab[i / 2], zero) : _mm256_unpacklo_epi8(ab[i / 2], zero);
				low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(v, kl));
				high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(v, kh));
			}
		}
		for (int i = 0; i < 4; i++)
			low[i] = _mm256_srai_epi32(_mm256_add_epi32(low[i], _mm256_slli_epi32(high[i], 15)), CVF_TAP_BITS);
		__m256i words = _mm256_packs_epi32(low[0], low[1]), more = _mm256_packs_epi32(low[2], low[3]);
		_mm256_storeu_si256((__m256i *)(dst + x), _mm256_packus_epi16(words, more));
	}
}

// The rounding is the product of the last weight and a channel of 1.
AVX2 static void gray(const uint8_t *src, int n, uint8_t *dst) {
	const __m256i blue_red = _mm256_set1_epi32(9798 << 16 | 3735), green = _mm256_set1_epi32(1 << 14 << 16 | 19235);
	const __m256i low = _mm256_set1_epi16(255), one = _mm256_set1_epi16(1);
	for (int x = 0; x < n; x += 16) {
		__m256i v[2];
		for (int i = 0; i < 2; i++) {
			__m256i p = load(src + 4 * (x + 8 * i));
			__m256i q = _mm256_blend_epi16(_mm256_srli_epi16(p, 8), one, 0xaa);
			p = _mm256_madd_epi16(_mm256_and_si256(p, low), blue_red);
			v[i] = _mm256_srli_epi32(_mm256_add_epi32(p, _mm256_madd_epi16(q, green)), 15);
		}
		__m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(v[0], v[1]), 0xd8);
		__m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
		_mm_storeu_si128((__m128i *)(dst + x), bytes);
	}
}

AVX2 static void to_three(const uint8_t *src, int n, uint8_t *dst) {
	const __m256i three = _mm256_broadcastsi128_si256(
		_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
	const __m256i order = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7);
	for (int x = 0; x < n; x += 8) {
		__m256i v = _mm256_shuffle_epi8(load(src + 4 * x), three);
		_mm256_storeu_si256((__m256i *)(dst + 3 * x), _mm256_permutevar8x32_epi32(v, order));
	}
}

AVX2 static void to_four(const uint8_t *src, int n, uint8_t *dst) {
	const __m256i four = _mm256_broadcastsi128_si256(
		_mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1));
	const __m256i order = _mm256_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5);
	for (int x = 0; x < n; x += 8) {
		__m256i v = _mm256_permutevar8x32_epi32(load(src + 3 * x), order);
		_mm256_storeu_si256((__m256i *)(dst + 4 * x), _mm256_shuffle_epi8(v, four));
	}
}

AVX2 static void weave(const uint8_t *const rows[4], int n, uint8_t *dst) {
	for (int x = 0; x < n; x += 16, dst += 64) {
		__m128i v[4];
		for (int r = 0; r < 4; r++) v[r] = _mm_loadu_si128((const __m128i *)(rows[r] + x));
		for (int i = 0; i < 2; i++) {
			__m128i ab = i ? _mm_unpackhi_epi8(v[0], v[1]) : _mm_unpacklo_epi8(v[0], v[1]);
			__m128i cd = i ? _mm_unpackhi_epi8(v[2], v[3]) : _mm_unpacklo_epi8(v[2], v[3]);
			_mm_storeu_si128((__m128i *)(dst + 32 * i), _mm_unpacklo_epi16(ab, cd));
			_mm_storeu_si128((__m128i *)(dst + 32 * i + 16), _mm_unpackhi_epi16(ab, cd));
		}
	}
}

AVX2 static void unweave(const uint8_t *src, int n, uint8_t *const rows[4]) {
	const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
	int x = 0;
	for (; x + 4 <= n; x += 4) {
		__m128i v = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(src + 4 * x)), order);
		int32_t parts[4] = {_mm_cvtsi128_si32(v), _mm_extract_epi32(v, 1), _mm_extract_epi32(v, 2), _mm_extract_epi32(v, 3)};
		for (int r = 0; r < 4; r++) memcpy(rows[r] + x, &parts[r], 4);
	}
	for (; x < n; x++)
		for (int r = 0; r < 4; r++) rows[r][x] = src[4 * x + r];
}

static void pick(const uint8_t *src, const int32_t *offsets, int n, int step, uint8_t *dst) {
	cvf_resize_c.pick(src, offsets, n, step, dst);
}

// Two pixels at a time, one in each half of a vector.
AVX2 static void widen3(const uint8_t *src, const int32_t *offsets, const int16_t *weights, int n, int16_t *dst) {
	const __m256i halves = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
	const __m256i pairs = _mm256_broadcastsi128_si256(
		_mm_setr_epi8(0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, -1, -1, -1, -1));
	int x = 0;
	for (; x + 1 < n; x += 2, dst += 6) {
		__m128i a = _mm_loadl_epi64((const __m128i *)(src + offsets[x]));
		__m128i b = _mm_loadl_epi64((const __m128i *)(src + offsets[x + 1]));
		__m128i both = _mm_loadl_epi64((const __m128i *)(weights + 2 * x));
		__m256i pixels = _mm256_shuffle_epi8(_mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1), pairs);
		__m256i each = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(both), halves);
		__m256i sums = _mm256_srai_epi32(_mm256_madd_epi16(pixels, each), 4);
		sums = _mm256_packs_epi32(sums, sums);
		_mm_storel_epi64((__m128i *)dst, _mm256_castsi256_si128(sums));
		_mm_storel_epi64((__m128i *)(dst + 3), _mm256_extracti128_si256(sums, 1));
	}
	if (x < n) cvf_resize_c.widen3(src, offsets + x, weights + 2 * x, 1, dst);
}

// Four pixels at a time.
AVX2 static void widen1(const uint8_t *src, const int32_t *offsets, const int16_t *weights, int n, int16_t *dst) {
	int x = 0;
	for (; x + 4 <= n; x += 4) {
		uint16_t two[4];
		for (int i = 0; i < 4; i++) memcpy(&two[i], src + offsets[x + i], 2);
		uint64_t eight;
		memcpy(&eight, two, 8);
		__m128i pixels = _mm_cvtepu8_epi16(_mm_cvtsi64_si128((long long)eight));
		__m128i each = _mm_loadu_si128((const __m128i *)(weights + 2 * x));
		__m128i sums = _mm_srai_epi32(_mm_madd_epi16(pixels, each), 4);
		_mm_storel_epi64((__m128i *)(dst + x), _mm_packs_epi32(sums, sums));
	}
	cvf_resize_c.widen1(src, offsets + x, weights + 2 * x, n - x, dst + x);
}

AVX2 static void blend(const int16_t *a, const int16_t *b, int16_t wa, int16_t wb, int n, uint8_t *dst) {
	const __m256i both[2] = {_mm256_set1_epi16(wa), _mm256_set1_epi16(wb)}, two = _mm256_set1_epi16(2);
	for (int x = 0; x < n; x += 32) {
		__m256i v[2];
		for (int i = 0; i < 2; i++) {
			__m256i va = _mm256_mulhi_epi16(load(a + x + 16 * i), both[0]);
			__m256i vb = _mm256_mulhi_epi16(load(b + x + 16 * i), both[1]);
			v[i] = _mm256_srai_epi16(_mm256_add_epi16(_mm256_add_epi16(va, vb), two), 2);
		}
		__m256i bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(v[0], v[1]), 0xd8);
		_mm256_storeu_si256((__m256i *)(dst + x), bytes);
	}
}

// Four pixels of the result at a time.
AVX2 static void halve3(const uint8_t *a, const uint8_t *b, int n, uint8_t *dst) {
	const __m256i pairs = _mm256_broadcastsi128_si256(
		_mm_setr_epi8(0, 4, 1, 5, 2, 6, 8, 12, 9, 13, 10, 14, -1, -1, -1, -1));
	const __m256i ones = _mm256_set1_epi8(1), two = _mm256_set1_epi16(2), zero = _mm256_setzero_si256();
	for (int x = 0; x < n; x += 4, dst += 12) {
		__m256i va = _mm256_maddubs_epi16(_mm256_shuffle_epi8(load(a + 8 * x), pairs), ones);
		__m256i vb = _mm256_maddubs_epi16(_mm256_shuffle_epi8(load(b + 8 * x), pairs), ones);
		__m256i v = _mm256_srli_epi16(_mm256_add_epi16(_mm256_add_epi16(va, vb), two), 2);
		v = _mm256_packus_epi16(v, zero);
		_mm_storel_epi64((__m128i *)dst, _mm256_castsi256_si128(v));
		_mm_storel_epi64((__m128i *)(dst + 6), _mm256_extracti128_si256(v, 1));
	}
}

AVX2 static void halve1(const uint8_t *a, const uint8_t *b, int n, uint8_t *dst) {
	const __m256i ones = _mm256_set1_epi8(1), two = _mm256_set1_epi16(2);
	for (int x = 0; x < n; x += 16) {
		__m256i va = _mm256_maddubs_epi16(load(a + 2 * x), ones), vb = _mm256_maddubs_epi16(load(b + 2 * x), ones);
		__m256i v = _mm256_srli_epi16(_mm256_add_epi16(_mm256_add_epi16(va, vb), two), 2);
		__m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
		_mm_storeu_si128((__m128i *)(dst + x), bytes);
	}
}

AVX2 static inline __m128i pixel(const uint8_t *src) {
	int32_t four;
	memcpy(&four, src, 4);
	return _mm_cvtepu8_epi32(_mm_cvtsi32_si128(four));
}

AVX2 static void add(const uint8_t *src, int factor, int n, int32_t *sums) {
	for (int i = 0; i < n; i++, sums += 4) {
		__m128i sum = _mm_loadu_si128((const __m128i *)sums);
		for (int k = 0; k < factor; k++, src += 4) sum = _mm_add_epi32(sum, pixel(src));
		_mm_storeu_si128((__m128i *)sums, sum);
	}
}

AVX2 static void mix(const cvf_mix *m, const uint8_t *src, float *dst) {
	const float *weight = m->weights;
	for (int i = 0; i < m->count; i++, dst += 4) {
		const uint8_t *s = src + m->start[i];
		__m128 sum = _mm_setzero_ps();
		for (int k = m->counts[i]; k > 0; k--, s += 4)
			sum = _mm_add_ps(sum, _mm_mul_ps(_mm_cvtepi32_ps(pixel(s)), _mm_broadcast_ss(weight++)));
		_mm_storeu_ps(dst, sum);
	}
}

// The sums are as long as whole vectors.
AVX2 static void mix_down(const float *src, float weight, int first, int n, float *sums) {
	const __m256 w = _mm256_set1_ps(weight);
	for (int x = 0; x < n; x += 8) {
		__m256 v = _mm256_mul_ps(_mm256_loadu_ps(src + x), w);
		if (!first) v = _mm256_add_ps(_mm256_loadu_ps(sums + x), v);
		_mm256_storeu_ps(sums + x, v);
	}
}

AVX2 static void mix_four(const float *const rows[4], const float weights[4], int n, float *dst) {
	__m256 w[4];
	for (int r = 0; r < 4; r++) w[r] = _mm256_set1_ps(weights[r]);
	for (int x = 0; x < n; x += 8) {
		__m256 sum = _mm256_mul_ps(_mm256_loadu_ps(rows[3] + x), w[3]);
		for (int r = 2; r >= 0; r--) sum = _mm256_add_ps(_mm256_mul_ps(_mm256_loadu_ps(rows[r] + x), w[r]), sum);
		_mm256_storeu_ps(dst + x, sum);
	}
}

AVX2 static void round_floats(const float *src, int n, uint8_t *dst) {
	for (int x = 0; x < n; x += 8) {
		__m256i v = _mm256_cvtps_epi32(_mm256_loadu_ps(src + x));
		__m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
		_mm_storel_epi64((__m128i *)(dst + x), _mm_packus_epi16(words, words));
	}
}

// Sixteen pixels at a time: 48 bytes, each third of which has some of every channel.
AVX2 static void split(const uint8_t *src, int n, uint8_t *const rows[3]) {
	const __m128i order[3][3] = {
		{
			_mm_setr_epi8(0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
			_mm_setr_epi8(-1, -1, -1, -1, -1, -1, 2, 5, 8, 11, 14, -1, -1, -1, -1, -1),
			_mm_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1, 4, 7, 10, 13),
		},
		{
			_mm_setr_epi8(1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
			_mm_setr_epi8(-1, -1, -1, -1, -1, 0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1),
			_mm_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 2, 5, 8, 11, 14),
		},
		{
			_mm_setr_epi8(2, 5, 8, 11, 14, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
			_mm_setr_epi8(-1, -1, -1, -1, -1, 1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1),
			_mm_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 3, 6, 9, 12, 15),
		},
	};
	uint8_t *const dst[3] = {rows[0], rows[1], rows[2]}; // which do not change as bytes are written
	for (int x = 0; x < n; x += 16) {
		__m128i v[3];
		for (int i = 0; i < 3; i++) v[i] = _mm_loadu_si128((const __m128i *)(src + 3 * x + 16 * i));
		for (int c = 0; c < 3; c++) {
			__m128i all = _mm_or_si128(_mm_shuffle_epi8(v[0], order[c][0]), _mm_shuffle_epi8(v[1], order[c][1]));
			_mm_storeu_si128((__m128i *)(dst[c] + x), _mm_or_si128(all, _mm_shuffle_epi8(v[2], order[c][2])));
		}
	}
}

AVX2 static void flip(const uint8_t *src, int n, uint8_t *dst) {
	const __m128i order = _mm_setr_epi8(2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9, 14, 13, 12, 15);
	for (int x = 0; x < n; x += 5) {
		__m128i v = _mm_loadu_si128((const __m128i *)(src + 3 * x));
		_mm_storeu_si128((__m128i *)(dst + 3 * x), _mm_shuffle_epi8(v, order));
	}
}

// The quotient by way of the reciprocal, corrected once by the remainder. For most
// divisors the result is that of the division, several times as fast (P. Markstein,
// Computation of elementary functions on the IBM RISC System/6000 processor, 1990).
FMA static inline __m256 quotients(const uint8_t *src, __m256 divisor, __m256 reciprocal) {
	__m256 v = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)src)));
	__m256 q = _mm256_mul_ps(v, reciprocal);
	return _mm256_fmadd_ps(_mm256_fnmadd_ps(q, divisor, v), reciprocal, q);
}

FMA static int divides(float divisor) {
	const __m256 d = _mm256_set1_ps(divisor), r = _mm256_set1_ps(1 / divisor);
	for (int i = 0; i < 256; i += 8) {
		uint8_t bytes[8];
		float q[8];
		for (int k = 0; k < 8; k++) bytes[k] = (uint8_t)(i + k);
		_mm256_storeu_ps(q, quotients(bytes, d, r));
		for (int k = 0; k < 8; k++)
			if (!(q[k] == (float)(i + k) / divisor)) return 0;
	}
	return 1;
}

FMA static void divide32(const uint8_t *src, int n, float divisor, float *dst) {
	const __m256 d = _mm256_set1_ps(divisor), r = _mm256_set1_ps(1 / divisor);
	int x = 0;
	for (; x + 8 <= n; x += 8) _mm256_storeu_ps(dst + x, quotients(src + x, d, r));
	cvf_resize_c.divide32(src + x, n - x, divisor, dst + x);
}

FMA static void divide16(const uint8_t *src, int n, float divisor, uint16_t *dst) {
	const __m256 d = _mm256_set1_ps(divisor), r = _mm256_set1_ps(1 / divisor);
	int x = 0;
	for (; x + 8 <= n; x += 8)
		_mm_storeu_si128((__m128i *)(dst + x), _mm256_cvtps_ph(quotients(src + x, d, r), _MM_FROUND_TO_NEAREST_INT));
	cvf_resize_c.divide16(src + x, n - x, divisor, dst + x);
}

FMA static void divideb16(const uint8_t *src, int n, float divisor, uint16_t *dst) {
	const __m256 d = _mm256_set1_ps(divisor), r = _mm256_set1_ps(1 / divisor);
	const __m256i below = _mm256_set1_epi32(0x7fff), one = _mm256_set1_epi32(1);
	int x = 0;
	for (; x + 8 <= n; x += 8) {
		__m256i v = _mm256_castps_si256(quotients(src + x, d, r));
		v = _mm256_add_epi32(_mm256_add_epi32(v, below), _mm256_and_si256(_mm256_srli_epi32(v, 16), one));
		v = _mm256_srli_epi32(v, 16);
		_mm_storeu_si128((__m128i *)(dst + x), _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
	}
	cvf_resize_c.divideb16(src + x, n - x, divisor, dst + x);
}

// The table is 16 vectors, each for the bytes of one high half, whose others become zero.
AVX2 static void look8(const uint8_t *src, int n, const uint8_t *table, uint8_t *dst) {
	const __m256i only = _mm256_set1_epi8(0x70), step = _mm256_set1_epi8(16);
	int x = 0;
	for (; x + 64 <= n; x += 64) {
		__m256i a = load(src + x), b = load(src + x + 32), da = _mm256_setzero_si256(), db = da;
		for (int i = 0; i < 16; i++) {
			__m256i t = twice(table + 16 * i);
			da = _mm256_or_si256(da, _mm256_shuffle_epi8(t, _mm256_adds_epu8(a, only)));
			db = _mm256_or_si256(db, _mm256_shuffle_epi8(t, _mm256_adds_epu8(b, only)));
			a = _mm256_sub_epi8(a, step);
			b = _mm256_sub_epi8(b, step);
		}
		_mm256_storeu_si256((__m256i *)(dst + x), da);
		_mm256_storeu_si256((__m256i *)(dst + x + 32), db);
	}
	cvf_resize_c.look8(src + x, n - x, table, dst + x);
}

const cvf_resize_kernels cvf_resize_avx2 = CVF_RESIZE_KERNELS;

#endif
