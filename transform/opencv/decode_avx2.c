#include "decode_kernels.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx2")))
#define INLINE __attribute__((always_inline, target("avx2"))) static inline

typedef __m256i v; // for short

INLINE v load(const void *p) { return _mm256_loadu_si256((const v *)p); }
INLINE v all32(int x) { return _mm256_set1_epi32(x); }
INLINE v all16(int x) { return _mm256_set1_epi16((short)x); }

// The weights as pairs of 16-bit numbers.
typedef struct {
	int32_t down[8][4]; // for the columns, for each row of the result: of two even or odd rows that are two apart
	v across[2];        // for the rows: four samples of the result; in the lower half even ones, in the upper half odd ones
} weights;

INLINE void set_weights(weights *w, const int size) {
	int32_t across[2][8] = {{0}};
	for (int y = 0; y < size; y++) {
		int mirrored = y >= (size + 1) / 2;
		int16_t row[8];
		memcpy(row, cvf_dct_weights[size][mirrored ? size - 1 - y : y], sizeof row);
		for (int k = 4; mirrored && k < 8; k++) row[k] = (int16_t)-row[k];
		memcpy(w->down[y], row, sizeof row);
		if (mirrored) continue;
		for (int k = 0; k < 2; k++) {
			across[k][y] = w->down[y][k];
			across[k][4 + y] = w->down[y][2 + k];
		}
	}
	w->across[0] = load(across[0]);
	w->across[1] = load(across[1]);
}

// What was seen of the numbers that may leave their range.
typedef struct {
	v coefficients; // bits are set where one was too large
	v between, samples;
} range;

INLINE int in_range(const range *r) {
	v wrong = _mm256_or_si256(r->coefficients, _mm256_cmpgt_epi16(r->between, all16(CVF_DCT_BETWEEN)));
	wrong = _mm256_or_si256(wrong, _mm256_cmpgt_epi16(r->samples, all16(CVF_DCT_SAMPLE)));
	// The absolute value of -32768 is itself.
	wrong = _mm256_or_si256(wrong, _mm256_cmpgt_epi16(_mm256_setzero_si256(), _mm256_or_si256(r->between, r->samples)));
	return _mm256_testz_si256(wrong, wrong);
}

INLINE v see(v seen, v x) { return _mm256_max_epu16(seen, _mm256_abs_epi16(x)); }

// Two rows of coefficients times their quantization.
INLINE v dequantize(const cvf_dct *d, const int16_t *block, int row, range *r) {
	v x = load(block + 8 * row);
	v large = _mm256_cmpgt_epi16(_mm256_abs_epi16(x), load(d->limits + 8 * row));
	r->coefficients = _mm256_or_si256(r->coefficients, large);
	return _mm256_mullo_epi16(x, load(d->factors + 8 * row));
}

INLINE v low_halves(v a, v b) { return _mm256_permute2x128_si256(a, b, 0x20); }
INLINE v high_halves(v a, v b) { return _mm256_permute2x128_si256(a, b, 0x31); }

// The rows of a block as pairs of those that are two apart: even rows and odd ones. The lower
// half of each vector has the even columns, the upper half the odd ones.
typedef struct {
	v even[2], odd[2];
} pairs;

INLINE void add_pairs(pairs *p, int i, v two, v next_two) {
	v low = _mm256_unpacklo_epi16(two, next_two), high = _mm256_unpackhi_epi16(two, next_two);
	p->even[i] = low_halves(low, high);
	p->odd[i] = high_halves(low, high);
}

INLINE pairs pairs_of(const cvf_dct *d, const int16_t *block, const int corner, range *r) {
	pairs p;
	add_pairs(&p, 0, dequantize(d, block, 0, r), dequantize(d, block, 2, r));
	if (!corner) add_pairs(&p, 1, dequantize(d, block, 4, r), dequantize(d, block, 6, r));
	return p;
}

// The sum over the even rows or the odd ones, with two pairs of weights.
INLINE v down(const int32_t *w, const v *rows, const int corner) {
	v sum = _mm256_madd_epi16(rows[0], all32(w[0]));
	return corner ? sum : _mm256_add_epi32(sum, _mm256_madd_epi16(rows[1], all32(w[1])));
}

INLINE v shifted(v x, const int bits) { return _mm256_srai_epi32(x, bits); }

enum { DOWN = 13 - 2, ACROSS = 13 + 2 + 3 };

INLINE int more_bits(const int size) { return size == 4 ? 1 : size == 2 ? 2 : 0; }

// Makes rows y and size-1-y between the passes: of the first the even columns, of the second
// the even columns, then the odd columns likewise.
INLINE v mirrored_rows(const weights *w, const pairs *p, int y, const int size, const int corner) {
	const int bits = DOWN + more_bits(size);
	v even = down(w->down[y], p->even, corner), odd = down(w->down[y] + 2, p->odd, corner);
	if (size == 2) even = _mm256_slli_epi32(even, 1); // the table has half of these weights
	even = _mm256_add_epi32(even, all32(1 << (bits - 1)));
	return _mm256_packs_epi32(shifted(_mm256_add_epi32(even, odd), bits), shifted(_mm256_sub_epi32(even, odd), bits));
}

// Makes row y between the passes, any one of size 8.
INLINE v any_row(const weights *w, const pairs *p, int y, const int corner) {
	v even = down(w->down[y], p->even, corner), odd = down(w->down[y] + 2, p->odd, corner);
	return shifted(_mm256_add_epi32(_mm256_add_epi32(even, all32(1 << (DOWN - 1))), odd), DOWN);
}

// Makes rows y and z in the same way as mirrored ones.
INLINE v any_rows(const weights *w, const pairs *p, int y, int z, const int corner) {
	return _mm256_packs_epi32(any_row(w, p, y, corner), any_row(w, p, z, corner));
}

// Makes the samples of two rows: each half has samples 0 to 3 of one, and then from the last
// one downwards.
INLINE v across(const weights *w, v rows, const int size, const int corner, range *r) {
	const int bits = ACROSS + more_bits(size);
	r->between = see(r->between, rows);
	v a = _mm256_madd_epi16(_mm256_shuffle_epi32(rows, 0x00), w->across[0]);
	v b = _mm256_madd_epi16(_mm256_shuffle_epi32(rows, 0xaa), w->across[0]);
	if (!corner) {
		a = _mm256_add_epi32(a, _mm256_madd_epi16(_mm256_shuffle_epi32(rows, 0x55), w->across[1]));
		b = _mm256_add_epi32(b, _mm256_madd_epi16(_mm256_shuffle_epi32(rows, 0xff), w->across[1]));
	}
	v even = low_halves(a, b), odd = high_halves(a, b);
	if (size == 2) even = _mm256_slli_epi32(even, 1);
	even = _mm256_add_epi32(even, all32(1 << (bits - 1)));
	v samples = _mm256_packs_epi32(shifted(_mm256_add_epi32(even, odd), bits),
	                               shifted(_mm256_sub_epi32(even, odd), bits));
	r->samples = see(r->samples, samples);
	return samples;
}

// Four rows of bytes, two in each half.
INLINE v bytes_of(v a, v b, const int size) {
	const int n = (size + 1) / 2;
#define PLACE(x) ((char)((x) < n ? (x) : (x) < size ? 4 + size - 1 - (x) : 0))
#define PLACES(at) \
	at + PLACE(0), at + PLACE(1), at + PLACE(2), at + PLACE(3), at + PLACE(4), at + PLACE(5), at + PLACE(6), at + PLACE(7)
	const v order = _mm256_setr_epi8(PLACES(0), PLACES(8), PLACES(0), PLACES(8));
#undef PLACES
#undef PLACE
	v bytes = _mm256_shuffle_epi8(_mm256_packs_epi16(a, b), order);
	return _mm256_xor_si256(bytes, _mm256_set1_epi8((char)0x80));
}

// Writes eight bytes: where size is less, what is behind is written over by the next block.
INLINE void store_low(uint8_t *dst, __m128i x) { _mm_storel_epi64((__m128i *)dst, x); }
INLINE void store_high(uint8_t *dst, __m128i x) { _mm_storeh_pd((double *)dst, _mm_castsi128_pd(x)); }

// Makes all rows.
INLINE void whole(const cvf_dct *d, const weights *w, const int16_t *block, const int size, const int corner, range *r,
                  uint8_t *dst, ptrdiff_t stride) {
	pairs p = pairs_of(d, block, corner, r);
	for (int y = 0; y < (size + 1) / 2; y += 2) {
		int z = y + 1 < (size + 1) / 2 ? y + 1 : y;
		v a = across(w, mirrored_rows(w, &p, y, size, corner), size, corner, r);
		v b = z == y ? a : across(w, mirrored_rows(w, &p, z, size, corner), size, corner, r);
		v bytes = bytes_of(a, b, size);
		__m128i above = _mm256_castsi256_si128(bytes), below = _mm256_extracti128_si256(bytes, 1);
		store_low(dst + y * stride, above);
		store_high(dst + z * stride, above);
		store_low(dst + (size - 1 - y) * stride, below);
		store_high(dst + (size - 1 - z) * stride, below);
	}
}

// Makes up to four rows of size 8.
INLINE void some(const cvf_dct *d, const weights *w, const int16_t *block, const int corner, range *r,
                 const cvf_dct_rows *rows, uint8_t *dst, ptrdiff_t stride) {
	const uint8_t *y = rows->list;
	pairs p = pairs_of(d, block, corner, r);
	v a = across(w, any_rows(w, &p, y[0], y[1], corner), 8, corner, r);
	v b = across(w, any_rows(w, &p, y[2], y[3], corner), 8, corner, r);
	v bytes = bytes_of(a, b, 8);
	__m128i first = _mm256_castsi256_si128(bytes), second = _mm256_extracti128_si256(bytes, 1);
	store_low(dst + y[0] * stride, first);
	store_low(dst + y[1] * stride, second);
	store_high(dst + y[2] * stride, first);
	store_high(dst + y[3] * stride, second);
}

// A block of which all coefficients but the first are 0. Returns 1 where that is too large.
INLINE int flat(const cvf_dct *d, int c, const int size, const int few, const cvf_dct_rows *rows, uint8_t *dst,
                ptrdiff_t stride) {
	int sample = (c * d->factors[0] + 4) >> 3;
	sample = sample < -128 ? 0 : sample > 127 ? 255 : sample + 128;
	uint64_t bytes = 0x0101010101010101 * (uint64_t)sample;
	for (int i = 0; i < (few ? 4 : size); i++) memcpy(dst + (few ? rows->list[i] : i) * stride, &bytes, 8);
	return c > d->limits[0] || c < -d->limits[0];
}

// The last index of a coefficient in a block of which none is outside of its first 4x4.
enum { CORNER = 9 };

INLINE int block_of(const int size, const int few, const cvf_dct *d, const cvf_dct_rows *rows, const int16_t *block, int last,
                    uint8_t *dst, ptrdiff_t stride) {
	if (last == 0) return flat(d, block[0], size, few, rows, dst, stride);
	const weights *w = (const weights *)d->prepared;
	range r = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
	if (few && last <= CORNER)
		some(d, w, block, 1, &r, rows, dst, stride);
	else if (few)
		some(d, w, block, 0, &r, rows, dst, stride);
	else if (size == 3 || last <= CORNER)
		whole(d, w, block, size, 1, &r, dst, stride);
	else
		whole(d, w, block, size, 0, &r, dst, stride);
	return !in_range(&r);
}

_Static_assert(sizeof(weights) <= sizeof((cvf_dct *)0)->prepared, "the weights do not fit");

TARGET static void prepare(cvf_dct *d) {
	weights *w = (weights *)d->prepared;
#define SIZE(n) \
	case n: \
		set_weights(w, n); \
		break
	switch (d->size) {
		SIZE(2);
		SIZE(3);
		SIZE(4);
		SIZE(5);
		SIZE(6);
		SIZE(7);
		SIZE(8);
	}
#undef SIZE
}

#define IDCT(n, few) \
	TARGET static int idct##n##few(const cvf_dct *d, const cvf_dct_rows *rows, const int16_t *block, int last, \
	                               uint8_t *dst, ptrdiff_t stride) { \
		return block_of(n, few, d, rows, block, last, dst, stride); \
	}
IDCT(2, 0)
IDCT(3, 0)
IDCT(4, 0)
IDCT(5, 0)
IDCT(6, 0)
IDCT(7, 0)
IDCT(8, 0)
IDCT(8, 1)
#undef IDCT

static cvf_idct *idct(int size, const cvf_dct_rows *rows) {
	static cvf_idct *const all[9] = {NULL, NULL, idct20, idct30, idct40, idct50, idct60, idct70, idct80};
	if (size < 2 || size > 8) return cvf_decode_c.idct(size, rows);
	return size == 8 && rows->count <= 4 ? idct81 : all[size];
}

// Sixteen bytes as 16-bit numbers.
INLINE v widen(const uint8_t *p) { return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)p)); }
INLINE v triple(v x) { return _mm256_add_epi16(_mm256_add_epi16(x, x), x); }
INLINE v add(v a, v b) { return _mm256_add_epi16(a, b); }

// Writes the bytes of even and odd in turns. Both are of 16 bits.
INLINE void store_pairs(uint8_t *dst, v even, v odd) {
	_mm256_storeu_si256((v *)dst, _mm256_or_si256(even, _mm256_slli_epi16(odd, 8)));
}

TARGET static void h2v1(const uint8_t *a, int n, uint8_t *dst) {
	for (int i = 0; i < n; i += 16) {
		v three = triple(widen(a + i));
		v even = _mm256_srli_epi16(add(add(three, widen(a + i - 1)), all16(1)), 2);
		v odd = _mm256_srli_epi16(add(add(three, widen(a + i + 1)), all16(2)), 2);
		store_pairs(dst + 2 * i, even, odd);
	}
}

TARGET static void h2v2(const uint8_t *a, const uint8_t *b, int n, uint8_t *dst) {
	for (int i = 0; i < n; i += 16) {
		v before = add(triple(widen(a + i - 1)), widen(b + i - 1));
		v three = triple(add(triple(widen(a + i)), widen(b + i)));
		v behind = add(triple(widen(a + i + 1)), widen(b + i + 1));
		v even = _mm256_srli_epi16(add(add(three, before), all16(8)), 4);
		v odd = _mm256_srli_epi16(add(add(three, behind), all16(7)), 4);
		store_pairs(dst + 2 * i, even, odd);
	}
}

TARGET static void h1v2(const uint8_t *a, const uint8_t *b, int bias, int n, uint8_t *dst) {
	for (int i = 0; i < n; i += 16) {
		v x = _mm256_srli_epi16(add(add(triple(widen(a + i)), widen(b + i)), all16(bias)), 2);
		x = _mm256_permute4x64_epi64(_mm256_packus_epi16(x, x), 0x08);
		_mm_storeu_si128((__m128i *)(dst + i), _mm256_castsi256_si128(x));
	}
}

// Eight bytes as 16-bit numbers, from these places of each half.
#define EIGHT(a, b, c, d, e, f, g, h) \
	_mm256_broadcastsi128_si256(_mm_setr_epi8(a, -1, b, -1, c, -1, d, -1, e, -1, f, -1, g, -1, h, -1))

TARGET static void h2v2_third(const uint8_t *a, const uint8_t *b, int first, int n, uint8_t *dst) {
	// Twelve samples become eight.
	v near = EIGHT(0, 2, 3, 5, 6, 8, 9, 11), far = EIGHT(1, 1, 4, 4, 7, 7, 10, 10);
	v bias = all32(8 << 16 | 7);
	if (first == 0) {
		near = EIGHT(1, 2, 4, 5, 7, 8, 10, 11), far = EIGHT(0, 3, 3, 6, 6, 9, 9, 12);
		bias = all32(7 << 16 | 8);
		a--, b--;
	}
	for (int i = 0; i < n; i += 16, a += 24, b += 24) {
		v above = _mm256_loadu2_m128i((const __m128i *)(a + 12), (const __m128i *)a);
		v below = _mm256_loadu2_m128i((const __m128i *)(b + 12), (const __m128i *)b);
		v here = add(triple(_mm256_shuffle_epi8(above, near)), _mm256_shuffle_epi8(below, near));
		v beside = add(triple(_mm256_shuffle_epi8(above, far)), _mm256_shuffle_epi8(below, far));
		v x = _mm256_srli_epi16(add(add(triple(here), beside), bias), 4);
		x = _mm256_permute4x64_epi64(_mm256_packus_epi16(x, x), 0x08);
		_mm_storeu_si128((__m128i *)(dst + i), _mm256_castsi256_si128(x));
	}
}
#undef EIGHT

// Where the samples of each third of 48 bytes go of which every third is kept.
#define NOT -1
TARGET static void thin(const uint8_t *src, int step, int n, uint8_t *dst) {
	if (step != 3) {
		cvf_decode_c.thin(src, step, n, dst);
		return;
	}
	const __m128i first = _mm_setr_epi8(0, 3, 6, 9, 12, 15, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT);
	const __m128i second = _mm_setr_epi8(NOT, NOT, NOT, NOT, NOT, NOT, 2, 5, 8, 11, 14, NOT, NOT, NOT, NOT, NOT);
	const __m128i third = _mm_setr_epi8(NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, 1, 4, 7, 10, 13);
	for (int i = 0; i < n; i += 16, src += 48) {
		__m128i a = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)src), first);
		__m128i b = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(src + 16)), second);
		__m128i c = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(src + 32)), third);
		_mm_storeu_si128((__m128i *)(dst + i), _mm_or_si128(_mm_or_si128(a, b), c));
	}
}
#undef NOT

// Writes sixteen pixels. bg has bytes of blue and green in turns, 0 to 7 in the lower half
// and 8 to 15 in the upper; r has 16-bit numbers.
INLINE void store_pixels(uint8_t *dst, v bg, v r) {
	v low = _mm256_unpacklo_epi16(bg, r), high = _mm256_unpackhi_epi16(bg, r);
	_mm256_storeu_si256((v *)dst, low_halves(low, high));
	_mm256_storeu_si256((v *)(dst + 32), high_halves(low, high));
}

// 16-bit numbers clipped to a byte.
INLINE v clip(v x) { return _mm256_min_epi16(_mm256_max_epi16(x, _mm256_setzero_si256()), all16(255)); }

// x * factor / 65536, rounded.
INLINE v times(v twice, int factor) {
	return _mm256_srai_epi16(add(_mm256_mulhi_epi16(twice, all16(factor)), all16(1)), 1);
}

// The factors are the formula's less what can be added as it is: 1.402 - 1, 1.772 - 2, and
// -0.71414 + 1.
TARGET static void ycc(const uint8_t *y, const uint8_t *cb, const uint8_t *cr, int n, uint8_t *dst) {
	const v greens = all32((int)(18734u << 16 | (uint16_t)-22554)), half = all32(1 << 15);
	for (int i = 0; i < n; i += 16, dst += 64) {
		v luma = widen(y + i), b = _mm256_sub_epi16(widen(cb + i), all16(128)), r = _mm256_sub_epi16(widen(cr + i), all16(128));
		v b2 = add(b, b), r2 = add(r, r);
		v red = add(luma, add(r, times(r2, 91881 - 65536)));
		v blue = add(luma, add(b2, times(b2, 116130 - 131072)));
		v low = _mm256_madd_epi16(_mm256_unpacklo_epi16(b, r), greens);
		v high = _mm256_madd_epi16(_mm256_unpackhi_epi16(b, r), greens);
		low = _mm256_srai_epi32(_mm256_add_epi32(low, half), 16);
		high = _mm256_srai_epi32(_mm256_add_epi32(high, half), 16);
		v green = add(_mm256_sub_epi16(luma, r), _mm256_packs_epi32(low, high));
		v bg = _mm256_packus_epi16(blue, green); // 8 of blue, 8 of green in each half
		bg = _mm256_unpacklo_epi8(bg, _mm256_srli_si256(bg, 8));
		store_pixels(dst, bg, clip(red));
	}
}

TARGET static void rgb(const uint8_t *r, const uint8_t *g, const uint8_t *b, int n, uint8_t *dst) {
	for (int i = 0; i < n; i += 16, dst += 64)
		store_pixels(dst, _mm256_or_si256(widen(b + i), _mm256_slli_epi16(widen(g + i), 8)), widen(r + i));
}

const cvf_decode_kernels cvf_decode_avx2 = CVF_DECODE_KERNELS;

#endif
