#include <math.h>
#include <string.h>

#include "resize_kernels.h"

static uint8_t clip(int32_t sum) {
	int v = sum >> CVF_TAP_BITS;
	return v < 0 ? 0 : v > 255 ? 255 : v;
}

static int32_t tap(const cvf_taps *taps, int t) { return taps[t / 4].low[t % 4] + taps[t / 4].high[t % 4] * 32768; }

static void across(const cvf_across *a, const uint8_t *const rows[4], uint8_t *const dst[4], int step) {
	const cvf_taps *taps = a->taps;
	for (int i = 0; i < a->count; taps += a->groups[i++])
		for (int r = 0; r < 4; r++) {
			const uint8_t *s = rows[r] + a->start[i];
			int32_t sums[4];
			for (int c = 0; c < 4; c++) sums[c] = 1 << (CVF_TAP_BITS - 1);
			for (int t = 0; t < 4 * a->groups[i]; t++, s += 4) {
				int32_t k = tap(taps, t);
				for (int c = 0; c < 4; c++) sums[c] += s[c] * k;
			}
			for (int c = 0; c < step; c++) dst[r][step * i + c] = clip(sums[c]);
		}
}

// So many sums fit into the fastest cache.
#define PART 1024

static void down(const cvf_taps *taps, int groups, const uint8_t *const *rows, int n, uint8_t *dst) {
	for (int from = 0; from < n; from += PART) {
		int32_t sums[PART];
		int m = n - from < PART ? n - from : PART;
		for (int x = 0; x < m; x++) sums[x] = 1 << (CVF_TAP_BITS - 1);
		for (int t = 0; t < 4 * groups; t++) {
			const uint8_t *row = rows[t] + from;
			int32_t k = tap(taps, t);
			for (int x = 0; x < m; x++) sums[x] += row[x] * k;
		}
		for (int x = 0; x < m; x++) dst[from + x] = clip(sums[x]);
	}
}

// The weights of OpenCV have 15 bits.
static void gray(const uint8_t *src, int n, uint8_t *dst) {
	for (int i = 0; i < n; i++, src += 4) dst[i] = (3735 * src[0] + 19235 * src[1] + 9798 * src[2] + (1 << 14)) >> 15;
}

// Copying four bytes is faster than copying three.
static void to_three(const uint8_t *src, int n, uint8_t *dst) {
	for (int i = 0; i < n; i++) memcpy(dst + 3 * i, src + 4 * i, 4);
}

static void to_four(const uint8_t *src, int n, uint8_t *dst) {
	for (int i = 0; i < n; i++) memcpy(dst + 4 * i, src + 3 * i, 4);
}

static void weave(const uint8_t *const rows[4], int n, uint8_t *dst) {
	const uint8_t *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
	for (int i = 0; i < n; i++) {
		dst[4 * i] = a[i];
		dst[4 * i + 1] = b[i];
		dst[4 * i + 2] = c[i];
		dst[4 * i + 3] = d[i];
	}
}

static void unweave(const uint8_t *src, int n, uint8_t *const rows[4]) {
	for (int r = 0; r < 4; r++)
		for (int i = 0; i < n; i++) rows[r][i] = src[4 * i + r];
}

static void pick(const uint8_t *src, const int32_t *offsets, int n, int step, uint8_t *dst) {
	for (int i = 0; i < n; i++, dst += step) memcpy(dst, src + offsets[i], 4);
}

// OpenCV drops the lowest bits of the sums when it uses them. Dropped here, they make the
// sums fit into 16 bits.
static void widen3(const uint8_t *src, const int32_t *offsets, const int16_t *weights, int n, int16_t *dst) {
	for (int i = 0; i < n; i++, weights += 2) {
		const uint8_t *s = src + offsets[i];
		for (int c = 0; c < 3; c++) dst[3 * i + c] = (int16_t)((s[c] * weights[0] + s[4 + c] * weights[1]) >> 4);
	}
}

static void widen1(const uint8_t *src, const int32_t *offsets, const int16_t *weights, int n, int16_t *dst) {
	for (int i = 0; i < n; i++, weights += 2) {
		const uint8_t *s = src + offsets[i];
		dst[i] = (int16_t)((s[0] * weights[0] + s[1] * weights[1]) >> 4);
	}
}

static void blend(const int16_t *a, const int16_t *b, int16_t wa, int16_t wb, int n, uint8_t *dst) {
	for (int i = 0; i < n; i++) {
		int v = ((a[i] * wa) >> 16) + ((b[i] * wb) >> 16);
		dst[i] = (uint8_t)((v + 2) >> 2);
	}
}

static void halve3(const uint8_t *a, const uint8_t *b, int n, uint8_t *dst) {
	for (int i = 0; i < n; i++, a += 8, b += 8)
		for (int c = 0; c < 3; c++) dst[3 * i + c] = (uint8_t)((a[c] + a[c + 4] + b[c] + b[c + 4] + 2) >> 2);
}

static void halve1(const uint8_t *a, const uint8_t *b, int n, uint8_t *dst) {
	for (int i = 0; i < n; i++) dst[i] = (uint8_t)((a[2 * i] + a[2 * i + 1] + b[2 * i] + b[2 * i + 1] + 2) >> 2);
}

static void add(const uint8_t *src, int factor, int n, int32_t *sums) {
	for (int i = 0; i < n; i++, sums += 4)
		for (int k = 0; k < factor; k++, src += 4)
			for (int c = 0; c < 4; c++) sums[c] += src[c];
}

static void mix(const cvf_mix *m, const uint8_t *src, float *dst) {
	const float *weight = m->weights;
	for (int i = 0; i < m->count; i++, dst += 4) {
		const uint8_t *s = src + m->start[i];
		float sum[4] = {0};
		for (int k = 0; k < m->counts[i]; k++, s += 4, weight++)
			for (int c = 0; c < 4; c++) sum[c] += (float)s[c] * *weight;
		memcpy(dst, sum, sizeof sum);
	}
}

static void mix_down(const float *src, float weight, int first, int n, float *sums) {
	for (int i = 0; i < n; i++) sums[i] = first ? src[i] * weight : sums[i] + src[i] * weight;
}

static void mix_four(const float *const rows[4], const float weights[4], int n, float *dst) {
	for (int i = 0; i < n; i++) {
		float sum = rows[3][i] * weights[3];
		for (int r = 2; r >= 0; r--) sum = rows[r][i] * weights[r] + sum;
		dst[i] = sum;
	}
}

static void round_floats(const float *src, int n, uint8_t *dst) {
	for (int i = 0; i < n; i++) {
		long v = lrintf(src[i]);
		dst[i] = v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v;
	}
}

static void split(const uint8_t *src, int n, uint8_t *const rows[3]) {
	for (int c = 0; c < 3; c++)
		for (int i = 0; i < n; i++) rows[c][i] = src[3 * i + c];
}

static void flip(const uint8_t *src, int n, uint8_t *dst) {
	for (int i = 0; i < n; i++)
		for (int c = 0; c < 3; c++) dst[3 * i + c] = src[3 * i + 2 - c];
}

static int divides(float divisor) {
	(void)divisor;
	return 1;
}

static void divide32(const uint8_t *src, int n, float divisor, float *dst) {
	for (int i = 0; i < n; i++) dst[i] = (float)src[i] / divisor;
}

// Rounds a float that is not negative to half precision, halves to even.
static uint16_t half(float f) {
	uint32_t bits, shift = 13;
	memcpy(&bits, &f, sizeof bits);
	int exponent = (int)(bits >> 23) - 127 + 15;
	if (exponent > 30) return 0x7c00; // infinity
	if (exponent < -10) return 0;
	bits &= 0x7fffff;
	if (exponent <= 0) { // not normal
		bits |= 0x800000;
		shift = (uint32_t)(14 - exponent);
	} else {
		bits |= (uint32_t)exponent << 23;
	}
	// A carry out of the mantissa raises the exponent.
	uint32_t rest = bits & ((1u << shift) - 1), middle = 1u << (shift - 1);
	bits >>= shift;
	return (uint16_t)(bits + (rest > middle || (rest == middle && (bits & 1))));
}

static void divide16(const uint8_t *src, int n, float divisor, uint16_t *dst) {
	for (int i = 0; i < n; i++) dst[i] = half((float)src[i] / divisor);
}

// A bfloat16 is the upper half of a float, rounded to nearest even.
static void divideb16(const uint8_t *src, int n, float divisor, uint16_t *dst) {
	for (int i = 0; i < n; i++) {
		float f = (float)src[i] / divisor;
		uint32_t bits;
		memcpy(&bits, &f, sizeof bits);
		dst[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
	}
}

static void look8(const uint8_t *src, int n, const uint8_t *table, uint8_t *dst) {
	for (int i = 0; i < n; i++) dst[i] = table[src[i]];
}

const cvf_resize_kernels cvf_resize_c = CVF_RESIZE_KERNELS;
