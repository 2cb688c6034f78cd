#ifdef __aarch64__

#include <arm_neon.h>
#include <string.h>

#include "resize_kernels.h"

#define HALF (1 << (CVF_TAP_BITS - 1))

// Returns four taps.
static inline int32x4_t taps_at(const cvf_taps *taps) {
	return vaddw_s16(vshll_n_s16(vld1_s16(taps->high), 15), vld1_s16(taps->low));
}

// Adds four pixels of four bytes, each times its tap.
static inline int32x4_t add_pixels(int32x4_t sum, const uint8_t *src, int32x4_t k) {
	uint8x16_t v = vld1q_u8(src);
	uint16x8_t a = vmovl_u8(vget_low_u8(v)), b = vmovl_high_u8(v);
	sum = vmlaq_laneq_s32(sum, vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(a))), k, 0);
	sum = vmlaq_laneq_s32(sum, vreinterpretq_s32_u32(vmovl_high_u16(a)), k, 1);
	sum = vmlaq_laneq_s32(sum, vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(b))), k, 2);
	return vmlaq_laneq_s32(sum, vreinterpretq_s32_u32(vmovl_high_u16(b)), k, 3);
}

static inline uint16x4_t clipped(int32x4_t sum) { return vqmovun_s32(vshrq_n_s32(sum, CVF_TAP_BITS)); }

static void across(const cvf_across *a, const uint8_t *const rows[4], uint8_t *const dst[4], int step) {
	const cvf_taps *taps = a->taps;
	for (int i = 0; i < a->count; i++) {
		int32x4_t sums[4];
		for (int r = 0; r < 4; r++) sums[r] = vdupq_n_s32(HALF);
		size_t at = a->start[i];
		for (int g = a->groups[i]; g > 0; g--, at += 16, taps++) {
			int32x4_t k = taps_at(taps);
			for (int r = 0; r < 4; r++) sums[r] = add_pixels(sums[r], rows[r] + at, k);
		}
		uint8_t bytes[16];
		vst1_u8(bytes, vqmovn_u16(vcombine_u16(clipped(sums[0]), clipped(sums[1]))));
		vst1_u8(bytes + 8, vqmovn_u16(vcombine_u16(clipped(sums[2]), clipped(sums[3]))));
		// Behind the last pixel there may be another row.
		if (i < a->count - 1 || step == 4)
			for (int r = 0; r < 4; r++) memcpy(dst[r] + step * i, bytes + 4 * r, 4);
		else
			for (int r = 0; r < 4; r++) memcpy(dst[r] + step * i, bytes + 4 * r, 3);
	}
}

static void down(const cvf_taps *taps, int groups, const uint8_t *const *rows, int n, uint8_t *dst) {
	for (int x = 0; x < n; x += 16) {
		int32x4_t low[4], high[4];
		for (int i = 0; i < 4; i++) low[i] = vdupq_n_s32(HALF), high[i] = vdupq_n_s32(0);
		for (int t = 0; t < 4 * groups; t++) {
			int16_t kl = taps[t / 4].low[t % 4], kh = taps[t / 4].high[t % 4];
			uint8x16_t v = vld1q_u8(rows[t] + x);
			int16x8_t a = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(v))), b = vreinterpretq_s16_u16(vmovl_high_u8(v));
			low[0] = vmlal_n_s16(low[0], vget_low_s16(a), kl);
			low[1] = vmlal_high_n_s16(low[1], a, kl);
			low[2] = vmlal_n_s16(low[2], vget_low_s16(b), kl);
			low[3] = vmlal_high_n_s16(low[3], b, kl);
			high[0] = vmlal_n_s16(high[0], vget_low_s16(a), kh);
			high[1] = vmlal_high_n_s16(high[1], a, kh);
			high[2] = vmlal_n_s16(high[2], vget_low_s16(b), kh);
			high[3] = vmlal_high_n_s16(high[3], b, kh);
		}
		for (int i = 0; i < 4; i++) low[i] = vaddq_s32(low[i], vshlq_n_s32(high[i], 15));
		uint16x8_t a = vcombine_u16(clipped(low[0]), clipped(low[1])), b = vcombine_u16(clipped(low[2]), clipped(low[3]));
		vst1q_u8(dst + x, vcombine_u8(vqmovn_u16(a), vqmovn_u16(b)));
	}
}

// Eight gray pixels of eight of each channel.
static inline uint8x8_t gray_of(uint8x8_t blue, uint8x8_t green, uint8x8_t red) {
	uint16x8_t b = vmovl_u8(blue), g = vmovl_u8(green), r = vmovl_u8(red);
	uint32x4_t low = vmull_n_u16(vget_low_u16(b), 3735), high = vmull_high_n_u16(b, 3735);
	low = vmlal_n_u16(vmlal_n_u16(low, vget_low_u16(g), 19235), vget_low_u16(r), 9798);
	high = vmlal_high_n_u16(vmlal_high_n_u16(high, g, 19235), r, 9798);
	return vmovn_u16(vcombine_u16(vrshrn_n_u32(low, 15), vrshrn_n_u32(high, 15)));
}

static void gray(const uint8_t *src, int n, uint8_t *dst) {
	for (int x = 0; x < n; x += 16) {
		uint8x16x4_t v = vld4q_u8(src + 4 * x);
		uint8x8_t low = gray_of(vget_low_u8(v.val[0]), vget_low_u8(v.val[1]), vget_low_u8(v.val[2]));
		uint8x8_t high = gray_of(vget_high_u8(v.val[0]), vget_high_u8(v.val[1]), vget_high_u8(v.val[2]));
		vst1q_u8(dst + x, vcombine_u8(low, high));
	}
}

static void to_three(const uint8_t *src, int n, uint8_t *dst) {
	for (int x = 0; x < n; x += 16) {
		uint8x16x4_t v = vld4q_u8(src + 4 * x);
		vst3q_u8(dst + 3 * x, (uint8x16x3_t){{v.val[0], v.val[1], v.val[2]}});
	}
}

static void to_four(const uint8_t *src, int n, uint8_t *dst) {
	for (int x = 0; x < n; x += 16) {
		uint8x16x3_t v = vld3q_u8(src + 3 * x);
		vst4q_u8(dst + 4 * x, (uint8x16x4_t){{v.val[0], v.val[1], v.val[2], v.val[0]}});
	}
}

static void weave(const uint8_t *const rows[4], int n, uint8_t *dst) {
	for (int x = 0; x < n; x += 16) {
		uint8x16x4_t v;
		for (int r = 0; r < 4; r++) v.val[r] = vld1q_u8(rows[r] + x);
		vst4q_u8(dst + 4 * x, v);
	}
}

static void unweave(const uint8_t *src, int n, uint8_t *const rows[4]) {
	int x = 0;
	for (; x + 16 <= n; x += 16) {
		uint8x16x4_t v = vld4q_u8(src + 4 * x);
		for (int r = 0; r < 4; r++) vst1q_u8(rows[r] + x, v.val[r]);
	}
	for (; x < n; x++)
		for (int r = 0; r < 4; r++) rows[r][x] = src[4 * x + r];
}

static void pick(const uint8_t *src, const int32_t *offsets, int n, int step, uint8_t *dst) {
	cvf_resize_c.pick(src, offsets, n, step, dst);
}

// The channels of two neighbours, which are step bytes apart, times their weights.
static inline int16x4_t widened(const uint8_t *s, int step, const int16_t *weights) {
	int16x8_t two = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(s)));
	int16x4_t second = step == 4 ? vget_high_s16(two) : vext_s16(vget_low_s16(two), vget_low_s16(two), 1);
	int32x4_t sum = vmlal_n_s16(vmull_n_s16(vget_low_s16(two), weights[0]), second, weights[1]);
	return vshrn_n_s32(sum, 4);
}

static void widen3(const uint8_t *src, const int32_t *offsets, const int16_t *weights, int n, int16_t *dst) {
	for (int i = 0; i < n; i++) vst1_s16(dst + 3 * i, widened(src + offsets[i], 4, weights + 2 * i));
}

// Four pixels at a time: pairs of bytes are loaded into lanes, because there is no look-up of
// bytes that may be anywhere in a row.
static void widen1(const uint8_t *src, const int32_t *offsets, const int16_t *weights, int n, int16_t *dst) {
	int x = 0;
	for (; x + 4 <= n; x += 4) {
		uint16_t two[4];
		for (int i = 0; i < 4; i++) memcpy(&two[i], src + offsets[x + i], 2);
		uint16x4_t pairs = vcreate_u16((uint64_t)two[0] | (uint64_t)two[1] << 16 | (uint64_t)two[2] << 32 | (uint64_t)two[3] << 48);
		int16x8_t pixels = vreinterpretq_s16_u16(vmovl_u8(vreinterpret_u8_u16(pairs))), each = vld1q_s16(weights + 2 * x);
		int32x4_t sums = vpaddq_s32(vmull_s16(vget_low_s16(pixels), vget_low_s16(each)), vmull_high_s16(pixels, each));
		vst1_s16(dst + x, vshrn_n_s32(sums, 4));
	}
	cvf_resize_c.widen1(src, offsets + x, weights + 2 * x, n - x, dst + x);
}

// The high halves of eight products.
static inline int16x8_t high_product(int16x8_t v, int16_t w) {
	return vshrq_n_s16(vqdmulhq_n_s16(v, w), 1); // which doubles the product
}

static void blend(const int16_t *a, const int16_t *b, int16_t wa, int16_t wb, int n, uint8_t *dst) {
	for (int x = 0; x < n; x += 16) {
		int16x8x2_t va = vld1q_s16_x2(a + x), vb = vld1q_s16_x2(b + x);
		int16x8_t low = vaddq_s16(high_product(va.val[0], wa), high_product(vb.val[0], wb));
		int16x8_t high = vaddq_s16(high_product(va.val[1], wa), high_product(vb.val[1], wb));
		vst1q_u8(dst + x, vqrshrun_high_n_s16(vqrshrun_n_s16(low, 2), high, 2));
	}
}

static void halve3(const uint8_t *a, const uint8_t *b, int n, uint8_t *dst) {
	for (int x = 0; x < n; x += 8) {
		uint8x16x4_t va = vld4q_u8(a + 8 * x), vb = vld4q_u8(b + 8 * x);
		uint8x8x3_t mean;
		for (int c = 0; c < 3; c++) mean.val[c] = vrshrn_n_u16(vpadalq_u8(vpaddlq_u8(va.val[c]), vb.val[c]), 2);
		vst3_u8(dst + 3 * x, mean);
	}
}

static void halve1(const uint8_t *a, const uint8_t *b, int n, uint8_t *dst) {
	for (int x = 0; x < n; x += 8)
		vst1_u8(dst + x, vrshrn_n_u16(vpadalq_u8(vpaddlq_u8(vld1q_u8(a + 2 * x)), vld1q_u8(b + 2 * x)), 2));
}

static inline uint32x4_t pixel(const uint8_t *src) {
	uint32_t four;
	memcpy(&four, src, 4);
	return vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)))));
}

static void add(const uint8_t *src, int factor, int n, int32_t *sums) {
	for (int i = 0; i < n; i++, sums += 4) {
		int32x4_t sum = vld1q_s32(sums);
		for (int k = 0; k < factor; k++, src += 4) sum = vaddq_s32(sum, vreinterpretq_s32_u32(pixel(src)));
		vst1q_s32(sums, sum);
	}
}

static void mix(const cvf_mix *m, const uint8_t *src, float *dst) {
	const float *weight = m->weights;
	for (int i = 0; i < m->count; i++, dst += 4) {
		const uint8_t *s = src + m->start[i];
		float32x4_t sum = vdupq_n_f32(0);
		for (int k = m->counts[i]; k > 0; k--, s += 4)
			sum = vaddq_f32(sum, vmulq_n_f32(vcvtq_f32_u32(pixel(s)), *weight++));
		vst1q_f32(dst, sum);
	}
}

static void mix_down(const float *src, float weight, int first, int n, float *sums) {
	for (int x = 0; x < n; x += 16) {
		float32x4x4_t v = vld1q_f32_x4(src + x), s;
		for (int i = 0; i < 4; i++) v.val[i] = vmulq_n_f32(v.val[i], weight);
		if (!first) {
			s = vld1q_f32_x4(sums + x);
			for (int i = 0; i < 4; i++) v.val[i] = vaddq_f32(s.val[i], v.val[i]);
		}
		vst1q_f32_x4(sums + x, v);
	}
}

static void mix_four(const float *const rows[4], const float weights[4], int n, float *dst) {
	const float *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
	float32x4_t w = vld1q_f32(weights);
	for (int x = 0; x < n; x += 16) {
		float32x4x4_t v0 = vld1q_f32_x4(r0 + x), v1 = vld1q_f32_x4(r1 + x), v2 = vld1q_f32_x4(r2 + x), v3 = vld1q_f32_x4(r3 + x);
		for (int i = 0; i < 4; i++) {
			float32x4_t sum = vmulq_laneq_f32(v3.val[i], w, 3);
			sum = vaddq_f32(vmulq_laneq_f32(v2.val[i], w, 2), sum);
			sum = vaddq_f32(vmulq_laneq_f32(v1.val[i], w, 1), sum);
			v0.val[i] = vaddq_f32(vmulq_laneq_f32(v0.val[i], w, 0), sum);
		}
		vst1q_f32_x4(dst + x, v0);
	}
}

static void round_floats(const float *src, int n, uint8_t *dst) {
	for (int x = 0; x < n; x += 8) {
		int32x4_t a = vcvtnq_s32_f32(vld1q_f32(src + x)), b = vcvtnq_s32_f32(vld1q_f32(src + x + 4));
		vst1_u8(dst + x, vqmovn_u16(vcombine_u16(vqmovun_s32(a), vqmovun_s32(b))));
	}
}

static void split(const uint8_t *src, int n, uint8_t *const rows[3]) {
	for (int x = 0; x < n; x += 16) {
		uint8x16x3_t v = vld3q_u8(src + 3 * x);
		for (int c = 0; c < 3; c++) vst1q_u8(rows[c] + x, v.val[c]);
	}
}

static void flip(const uint8_t *src, int n, uint8_t *dst) {
	for (int x = 0; x < n; x += 16) {
		uint8x16x3_t v = vld3q_u8(src + 3 * x);
		vst3q_u8(dst + 3 * x, (uint8x16x3_t){{v.val[2], v.val[1], v.val[0]}});
	}
}

// The quotient by way of the reciprocal, corrected once by the remainder. For most
// divisors the result is that of the division, several times as fast (P. Markstein,
// Computation of elementary functions on the IBM RISC System/6000 processor, 1990).
static inline float32x4_t quotients(uint16x4_t bytes, float divisor, float reciprocal) {
	float32x4_t v = vcvtq_f32_u32(vmovl_u16(bytes)), q = vmulq_n_f32(v, reciprocal);
	return vfmaq_n_f32(q, vfmsq_n_f32(v, q, divisor), reciprocal);
}

static int divides(float divisor) {
	for (uint16_t i = 0; i < 256; i++) {
		float q = vgetq_lane_f32(quotients(vdup_n_u16(i), divisor, 1 / divisor), 0);
		if (!(q == (float)i / divisor)) return 0;
	}
	return 1;
}

static void divide32(const uint8_t *src, int n, float divisor, float *dst) {
	float reciprocal = 1 / divisor;
	int x = 0;
	for (; x + 8 <= n; x += 8) {
		uint16x8_t v = vmovl_u8(vld1_u8(src + x));
		vst1q_f32(dst + x, quotients(vget_low_u16(v), divisor, reciprocal));
		vst1q_f32(dst + x + 4, quotients(vget_high_u16(v), divisor, reciprocal));
	}
	cvf_resize_c.divide32(src + x, n - x, divisor, dst + x);
}

static void divide16(const uint8_t *src, int n, float divisor, uint16_t *dst) {
	float reciprocal = 1 / divisor;
	int x = 0;
	for (; x + 8 <= n; x += 8) {
		uint16x8_t v = vmovl_u8(vld1_u8(src + x));
		float16x4_t a = vcvt_f16_f32(quotients(vget_low_u16(v), divisor, reciprocal));
		float16x4_t b = vcvt_f16_f32(quotients(vget_high_u16(v), divisor, reciprocal));
		vst1q_u16(dst + x, vcombine_u16(vreinterpret_u16_f16(a), vreinterpret_u16_f16(b)));
	}
	cvf_resize_c.divide16(src + x, n - x, divisor, dst + x);
}

static void divideb16(const uint8_t *src, int n, float divisor, uint16_t *dst) {
	float reciprocal = 1 / divisor;
	int x = 0;
	for (; x + 4 <= n; x += 4) {
		uint16x4_t bytes = {src[x], src[x + 1], src[x + 2], src[x + 3]};
		uint32x4_t v = vreinterpretq_u32_f32(quotients(bytes, divisor, reciprocal));
		uint32x4_t odd = vandq_u32(vshrq_n_u32(v, 16), vdupq_n_u32(1));
		vst1_u16(dst + x, vshrn_n_u32(vaddq_u32(vaddq_u32(v, vdupq_n_u32(0x7fff)), odd), 16));
	}
	cvf_resize_c.divideb16(src + x, n - x, divisor, dst + x);
}

// A look-up in 64 bytes leaves what lies beyond them, so that four make one in 256.
static void look8(const uint8_t *src, int n, const uint8_t *table, uint8_t *dst) {
	const uint8x16x4_t t[4] = {vld1q_u8_x4(table), vld1q_u8_x4(table + 64), vld1q_u8_x4(table + 128), vld1q_u8_x4(table + 192)};
	int x = 0;
	for (; x + 16 <= n; x += 16) {
		uint8x16_t v = vld1q_u8(src + x), d = vqtbl4q_u8(t[0], v);
		for (int i = 1; i < 4; i++) {
			v = vsubq_u8(v, vdupq_n_u8(64));
			d = vqtbx4q_u8(d, t[i], v);
		}
		vst1q_u8(dst + x, d);
	}
	cvf_resize_c.look8(src + x, n - x, table, dst + x);
}

const cvf_resize_kernels cvf_resize_neon = CVF_RESIZE_KERNELS;

#endif
