#include "decode_kernels.h"

#ifdef __aarch64__
#include <arm_neon.h>
#include <string.h>

#define INLINE __attribute__((always_inline)) static inline

enum { DOWN = 13 - 2, ACROSS = 13 + 2 + 3 };

INLINE int more_bits(const int size) { return size == 4 ? 1 : size == 2 ? 2 : 0; }

// What was seen of the numbers that may leave their range.
typedef struct {
	uint16x8_t coefficients; // bits are set where one was too large
	uint16x8_t between, samples;
} range;

INLINE uint16x8_t see(uint16x8_t seen, int16x8_t x) {
	return vmaxq_u16(seen, vreinterpretq_u16_s16(vabsq_s16(x)));
}

INLINE int in_range(const range *r) {
	return vmaxvq_u16(r->coefficients) == 0 && vmaxvq_u16(r->between) <= CVF_DCT_BETWEEN &&
	       vmaxvq_u16(r->samples) <= CVF_DCT_SAMPLE;
}

// The sums of products of four numbers each, of eight columns.
typedef struct {
	int32x4_t low, high;
} sums;

// Adds up numbers 0 to 3, times the weights: all even rows of a block, or all odd ones. In a
// corner, only the first two are not zero.
INLINE sums add_up(const int16x8_t x[4], int16x4_t w, const int corner) {
	sums s = {vmull_lane_s16(vget_low_s16(x[0]), w, 0), vmull_high_lane_s16(x[0], w, 0)};
	s.low = vmlal_lane_s16(s.low, vget_low_s16(x[1]), w, 1);
	s.high = vmlal_high_lane_s16(s.high, x[1], w, 1);
	if (!corner) {
		s.low = vmlal_lane_s16(s.low, vget_low_s16(x[2]), w, 2);
		s.high = vmlal_high_lane_s16(s.high, x[2], w, 2);
		s.low = vmlal_lane_s16(s.low, vget_low_s16(x[3]), w, 3);
		s.high = vmlal_high_lane_s16(s.high, x[3], w, 3);
	}
	return s;
}

// Shifts the numbers to the right and rounds them; those that do not fit are clipped.
INLINE int16x8_t narrow(int32x4_t low, int32x4_t high, const int bits) {
	return vqmovn_high_s32(vqmovn_s32(vrshlq_s32(low, vdupq_n_s32(-bits))), vrshlq_s32(high, vdupq_n_s32(-bits)));
}

// Transforms eight columns at once. even and odd are their even and odd numbers; y and
// size-1-y of the results are made of them.
INLINE void pass(const int16x8_t even[4], const int16x8_t odd[4], const int size, int y, const int bits,
                 const int corner, int16x8_t *first, int16x8_t *last) {
	int16x8_t w = vld1q_s16(cvf_dct_weights[size][y]);
	sums e = add_up(even, vget_low_s16(w), corner), o = add_up(odd, vget_high_s16(w), corner);
	if (size == 2) { // the table has half of these weights
		e.low = vshlq_n_s32(e.low, 1);
		e.high = vshlq_n_s32(e.high, 1);
	}
	*first = narrow(vaddq_s32(e.low, o.low), vaddq_s32(e.high, o.high), bits);
	*last = narrow(vsubq_s32(e.low, o.low), vsubq_s32(e.high, o.high), bits);
}

// Swaps rows and columns.
INLINE void transpose(int16x8_t r[8]) {
	int16x8_t a[8], b[8];
	for (int i = 0; i < 4; i++) {
		a[2 * i] = vtrn1q_s16(r[2 * i], r[2 * i + 1]);
		a[2 * i + 1] = vtrn2q_s16(r[2 * i], r[2 * i + 1]);
	}
	for (int i = 0; i < 8; i += 4)
		for (int k = 0; k < 2; k++) {
			int32x4_t x = vreinterpretq_s32_s16(a[i + k]), y = vreinterpretq_s32_s16(a[i + k + 2]);
			b[i + k] = vreinterpretq_s16_s32(vtrn1q_s32(x, y));
			b[i + k + 2] = vreinterpretq_s16_s32(vtrn2q_s32(x, y));
		}
	for (int i = 0; i < 4; i++) {
		int64x2_t x = vreinterpretq_s64_s16(b[i]), y = vreinterpretq_s64_s16(b[i + 4]);
		r[i] = vreinterpretq_s16_s64(vtrn1q_s64(x, y));
		r[i + 4] = vreinterpretq_s16_s64(vtrn2q_s64(x, y));
	}
}

// Transforms a block. Both passes work on columns, and rows and columns are swapped between.
INLINE void whole(const cvf_dct *d, const int16_t *block, const int size, const int corner, range *r, uint8_t *dst,
                  ptrdiff_t stride) {
	int16x8_t in[8], rows[8] = {0}, out[8] = {0};
	for (int v = 0; v < (corner ? 4 : 8); v++) {
		int16x8_t x = vld1q_s16(block + 8 * v);
		r->coefficients = vorrq_u16(r->coefficients, vcgtq_s16(vabsq_s16(x), vld1q_s16(d->limits + 8 * v)));
		in[v] = vmulq_s16(x, vld1q_s16(d->factors + 8 * v));
	}
	const int16x8_t zero = vdupq_n_s16(0);
	int16x8_t even[4] = {in[0], in[2], corner ? zero : in[4], corner ? zero : in[6]};
	int16x8_t odd[4] = {in[1], in[3], corner ? zero : in[5], corner ? zero : in[7]};
	for (int y = 0; y < (size + 1) / 2; y++)
		pass(even, odd, size, y, DOWN + more_bits(size), corner, &rows[y], &rows[size - 1 - y]);
	for (int y = 0; y < size; y++) r->between = see(r->between, rows[y]);
	transpose(rows); // the columns come in a block's order: even ones, then odd ones
	for (int x = 0; x < (size + 1) / 2; x++)
		pass(rows, rows + 4, size, x, ACROSS + more_bits(size), corner, &out[x], &out[size - 1 - x]);
	for (int x = 0; x < size; x++) r->samples = see(r->samples, out[x]);
	transpose(out);
	for (int y = 0; y < size; y++) {
		int8x8_t sample = vqmovn_s16(out[y]);
		// Where size is less than eight, what is behind is written over by the next block.
		vst1_u8(dst + y * stride, veor_u8(vreinterpret_u8_s8(sample), vdup_n_u8(0x80)));
	}
}

// A block of which all coefficients but the first are 0. Returns 1 where that is too large.
INLINE int flat(const cvf_dct *d, int c, const int size, unsigned rows, uint8_t *dst, ptrdiff_t stride) {
	int sample = (c * d->factors[0] + 4) >> 3;
	sample = sample < -128 ? 0 : sample > 127 ? 255 : sample + 128;
	for (int y = 0; y < size; y++)
		if (rows >> y & 1) vst1_u8(dst + y * stride, vdup_n_u8((uint8_t)sample));
	return c > d->limits[0] || c < -d->limits[0];
}

// The last index of a coefficient in a block of which none is outside of its first 4x4.
enum { CORNER = 9 };

INLINE int block_of(const int size, const cvf_dct *d, unsigned rows, const int16_t *block, int last, uint8_t *dst,
                    ptrdiff_t stride) {
	if (last == 0) return flat(d, block[0], size, rows, dst, stride);
	range r = {vdupq_n_u16(0), vdupq_n_u16(0), vdupq_n_u16(0)};
	if (size == 3 || last <= CORNER)
		whole(d, block, size, 1, &r, dst, stride);
	else
		whole(d, block, size, 0, &r, dst, stride);
	return !in_range(&r);
}

static void prepare(cvf_dct *d) { (void)d; }

#define IDCT(n) \
	static int idct##n(const cvf_dct *d, const cvf_dct_rows *rows, const int16_t *block, int last, uint8_t *dst, \
	                   ptrdiff_t stride) { \
		return block_of(n, d, rows->mask, block, last, dst, stride); \
	}
IDCT(2)
IDCT(3)
IDCT(4)
IDCT(5)
IDCT(6)
IDCT(7)
IDCT(8)
#undef IDCT

static cvf_idct *idct(int size, const cvf_dct_rows *rows) {
	static cvf_idct *const all[9] = {NULL, NULL, idct2, idct3, idct4, idct5, idct6, idct7, idct8};
	return size < 2 || size > 8 ? cvf_decode_c.idct(size, rows) : all[size];
}

// Three times a, as 16-bit numbers.
INLINE uint16x8_t triple(uint8x8_t a) { return vmull_u8(a, vdup_n_u8(3)); }

static void h2v1(const uint8_t *a, int n, uint8_t *dst) {
	for (int i = 0; i < n; i += 8) {
		uint16x8_t three = triple(vld1_u8(a + i));
		uint16x8_t even = vaddq_u16(vaddw_u8(three, vld1_u8(a + i - 1)), vdupq_n_u16(1));
		uint8x8x2_t both = {{vshrn_n_u16(even, 2), vrshrn_n_u16(vaddw_u8(three, vld1_u8(a + i + 1)), 2)}};
		vst2_u8(dst + 2 * i, both);
	}
}

static void h2v2(const uint8_t *a, const uint8_t *b, int n, uint8_t *dst) {
	for (int i = 0; i < n; i += 8) {
		uint16x8_t before = vaddw_u8(triple(vld1_u8(a + i - 1)), vld1_u8(b + i - 1));
		uint16x8_t three = vmulq_n_u16(vaddw_u8(triple(vld1_u8(a + i)), vld1_u8(b + i)), 3);
		uint16x8_t behind = vaddw_u8(triple(vld1_u8(a + i + 1)), vld1_u8(b + i + 1));
		uint16x8_t odd = vaddq_u16(vaddq_u16(three, behind), vdupq_n_u16(7));
		uint8x8x2_t both = {{vrshrn_n_u16(vaddq_u16(three, before), 4), vshrn_n_u16(odd, 4)}};
		vst2_u8(dst + 2 * i, both);
	}
}

static void h1v2(const uint8_t *a, const uint8_t *b, int bias, int n, uint8_t *dst) {
	const uint16x8_t biases = vdupq_n_u16((uint16_t)bias);
	for (int i = 0; i < n; i += 8) {
		uint16x8_t sum = vaddw_u8(triple(vld1_u8(a + i)), vld1_u8(b + i));
		vst1_u8(dst + i, vshrn_n_u16(vaddq_u16(sum, biases), 2));
	}
}

// The indices of near and far samples in twelve of them, and what their sums are rounded by.
static const uint8_t thirds[2][3][8] = {
    {{1, 2, 4, 5, 7, 8, 10, 11}, {0, 3, 3, 6, 6, 9, 9, 12}, {8, 7, 8, 7, 8, 7, 8, 7}},
    {{0, 2, 3, 5, 6, 8, 9, 11}, {1, 1, 4, 4, 7, 7, 10, 10}, {7, 8, 7, 8, 7, 8, 7, 8}},
};

static void h2v2_third(const uint8_t *a, const uint8_t *b, int first, int n, uint8_t *dst) {
	const uint8x8_t near = vld1_u8(thirds[first][0]), far = vld1_u8(thirds[first][1]), bias = vld1_u8(thirds[first][2]);
	a -= first == 0, b -= first == 0;
	for (int i = 0; i < n; i += 8, a += 12, b += 12) {
		uint8x16_t above = vld1q_u8(a), below = vld1q_u8(b);
		uint16x8_t here = vaddw_u8(triple(vqtbl1_u8(above, near)), vqtbl1_u8(below, near));
		uint16x8_t beside = vaddw_u8(triple(vqtbl1_u8(above, far)), vqtbl1_u8(below, far));
		vst1_u8(dst + i, vshrn_n_u16(vaddw_u8(vmlaq_n_u16(beside, here, 3), bias), 4));
	}
}

static void thin(const uint8_t *src, int step, int n, uint8_t *dst) {
	if (step != 3) {
		cvf_decode_c.thin(src, step, n, dst);
		return;
	}
	for (int i = 0; i < n; i += 16) vst1q_u8(dst + i, vld3q_u8(src + 3 * i).val[0]);
}

// The sample less 128.
INLINE int16x8_t centered(const uint8_t *p) { return vreinterpretq_s16_u16(vsubl_u8(vld1_u8(p), vdup_n_u8(128))); }

// x * factor / 65536, rounded.
INLINE int16x8_t times(int16x8_t x, int16_t factor) {
	int32x4_t low = vmull_n_s16(vget_low_s16(x), factor), high = vmull_high_n_s16(x, factor);
	return vrshrn_high_n_s32(vrshrn_n_s32(low, 16), high, 16);
}

// The factors are the formula's less what can be added as it is: 1.402 - 1, 1.772 - 2, and
// -0.71414 + 1.
static void ycc(const uint8_t *y, const uint8_t *cb, const uint8_t *cr, int n, uint8_t *dst) {
	for (int i = 0; i < n; i += 8, dst += 32) {
		int16x8_t luma = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(y + i))), b = centered(cb + i), r = centered(cr + i);
		int16x8_t red = vaddq_s16(luma, vaddq_s16(r, times(r, 91881 - 65536)));
		int16x8_t blue = vaddq_s16(luma, vaddq_s16(vshlq_n_s16(b, 1), times(b, 116130 - 131072)));
		int32x4_t low = vmlal_n_s16(vmull_n_s16(vget_low_s16(b), -22554), vget_low_s16(r), 18734);
		int32x4_t high = vmlal_high_n_s16(vmull_high_n_s16(b, -22554), r, 18734);
		int16x8_t green = vaddq_s16(vsubq_s16(luma, r), vrshrn_high_n_s32(vrshrn_n_s32(low, 16), high, 16));
		uint8x8x4_t pixels = {{vqmovun_s16(blue), vqmovun_s16(green), vqmovun_s16(red), vdup_n_u8(0)}};
		vst4_u8(dst, pixels);
	}
}

static void rgb(const uint8_t *r, const uint8_t *g, const uint8_t *b, int n, uint8_t *dst) {
	for (int i = 0; i < n; i += 8, dst += 32) {
		uint8x8x4_t pixels = {{vld1_u8(b + i), vld1_u8(g + i), vld1_u8(r + i), vdup_n_u8(0)}};
		vst4_u8(dst, pixels);
	}
}

const cvf_decode_kernels cvf_decode_neon = CVF_DECODE_KERNELS;

#endif
