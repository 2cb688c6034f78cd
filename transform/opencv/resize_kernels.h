#ifndef CVF_RESIZE_KERNELS_H
#define CVF_RESIZE_KERNELS_H

#include <stdint.h>

// Coefficients of four neighbouring pixels, or rows, in fixed point. Each is the low half
// and 32768 times the high half, so that processors can multiply pairs of 16 bits.
typedef struct {
	int16_t low[4], high[4]; // low is not negative
} cvf_taps;

// The bits behind the point.
#define CVF_TAP_BITS 22

// The convolution along a row: pixel i of the result is the sum of 4*groups[i] pixels, each
// times its tap, rounded and clipped to 8 bits.
typedef struct {
	int count;             // pixels of the result
	const int32_t *start;  // for each, the offset of its first pixel in the row, in bytes
	const int32_t *groups; // and how many groups of taps it has, at least one
	const cvf_taps *taps;  // of all pixels, one after the other
} cvf_across;

// Weighted sums along a row: pixel i of the result is that of counts[i] pixels. The sums are
// made from left to right, and nothing is fused.
typedef struct {
	int count;             // pixels of the result
	const int32_t *start;  // for each, the offset of its first pixel in the row, in bytes
	const int32_t *counts; // and of how many it is made
	const float *weights;  // of all pixels, one after the other
} cvf_mix;

// The functions of resizing that have vector code. All read and write 64 bytes behind rows
// at most, and only where it is said here. The plain C of resize_c.c is the reference.
typedef struct {
	// across convolves four rows of four-byte pixels. The pixels of each result are step
	// bytes apart: 4, or 3, which leaves out the last byte. It reads behind the rows.
	void (*across)(const cvf_across *a, const uint8_t *const rows[4], uint8_t *const dst[4], int step);
	// down convolves 4*groups rows, n bytes of each. It reads behind the rows, and writes
	// behind dst.
	void (*down)(const cvf_taps *taps, int groups, const uint8_t *const *rows, int n, uint8_t *dst);
	// gray makes n gray pixels of four-byte ones as cv::cvtColor does with COLOR_BGR2GRAY. It
	// reads behind src, and writes behind dst.
	void (*gray)(const uint8_t *src, int n, uint8_t *dst);
	// to_three leaves out the last byte of n pixels of four, and to_four adds one. They read
	// behind src, and write behind dst.
	void (*to_three)(const uint8_t *src, int n, uint8_t *dst);
	void (*to_four)(const uint8_t *src, int n, uint8_t *dst);
	// weave makes one row of n four-byte pixels of four rows of bytes. It reads behind the
	// rows, and writes behind dst. unweave undoes it.
	void (*weave)(const uint8_t *const rows[4], int n, uint8_t *dst);
	void (*unweave)(const uint8_t *src, int n, uint8_t *const rows[4]);

	// pick copies n pixels of four bytes from their offsets. In dst they are step bytes apart,
	// 3 or 4. It writes behind dst.
	void (*pick)(const uint8_t *src, const int32_t *offsets, int n, int step, uint8_t *dst);
	// widen3 makes each of n pixels of two neighbours of four bytes, of which the first is at
	// the pixel's offset: the sum of three channels of each, times its weight of 11 bits,
	// without the lowest 4 bits. widen1 does it with bytes. They read behind src, and write
	// behind dst.
	void (*widen3)(const uint8_t *src, const int32_t *offsets, const int16_t *weights, int n, int16_t *dst);
	void (*widen1)(const uint8_t *src, const int32_t *offsets, const int16_t *weights, int n, int16_t *dst);
	// blend makes n bytes of two such rows and their weights. It reads behind them, and writes
	// behind dst.
	void (*blend)(const int16_t *a, const int16_t *b, int16_t wa, int16_t wb, int n, uint8_t *dst);
	// halve3 makes n pixels, each the mean of two neighbours of four bytes in two rows. halve1
	// does it with bytes. They read behind the rows, and write behind dst.
	void (*halve3)(const uint8_t *a, const uint8_t *b, int n, uint8_t *dst);
	void (*halve1)(const uint8_t *a, const uint8_t *b, int n, uint8_t *dst);

	// add adds to each of n sums of four channels those of factor pixels of four bytes.
	void (*add)(const uint8_t *src, int factor, int n, int32_t *sums);
	// mix makes the weighted sums of pixels of four bytes, four floats each.
	void (*mix)(const cvf_mix *m, const uint8_t *src, float *dst);
	// mix_down adds n floats, times a weight, to sums, or sets these. It reads and writes behind
	// both.
	void (*mix_down)(const float *src, float weight, int first, int n, float *sums);
	// mix_four sums n floats of four rows, times their weights, from the last row to the first.
	// It reads and writes behind them.
	void (*mix_four)(const float *const rows[4], const float weights[4], int n, float *dst);
	// round makes bytes of n floats. It reads behind src, and writes behind dst.
	void (*round)(const float *src, int n, uint8_t *dst);

	// split makes a row of each channel of n pixels of three bytes. Where n is not a multiple
	// of 16, it reads behind src, and writes behind the rows.
	void (*split)(const uint8_t *src, int n, uint8_t *const rows[3]);
	// flip reverses the channels of n pixels of three bytes. It reads behind src, and writes
	// behind dst.
	void (*flip)(const uint8_t *src, int n, uint8_t *dst);
	// divides tells whether divide32 and divide16 make quotients with this divisor that are
	// rounded as a division's.
	int (*divides)(float divisor);
	// divide32 makes n floats of bytes that are divided, and divide16 rounds these to half
	// precision.
	void (*divide32)(const uint8_t *src, int n, float divisor, float *dst);
	void (*divide16)(const uint8_t *src, int n, float divisor, uint16_t *dst);
	// divideb16 rounds them to bfloat16.
	void (*divideb16)(const uint8_t *src, int n, float divisor, uint16_t *dst);
	// look8 takes n bytes from a table of 256.
	void (*look8)(const uint8_t *src, int n, const uint8_t *table, uint8_t *dst);
} cvf_resize_kernels;

// CVF_RESIZE_KERNELS is a table of the functions of a file, which have the names of the fields,
// but for round: the C library has one.
#define CVF_RESIZE_KERNELS                                                                       \
	{.across = across, .down = down, .gray = gray, .to_three = to_three, .to_four = to_four,     \
	 .weave = weave, .unweave = unweave, .pick = pick, .widen3 = widen3, .widen1 = widen1,       \
	 .blend = blend, .halve3 = halve3, .halve1 = halve1, .add = add, .mix = mix,                 \
	 .mix_down = mix_down, .mix_four = mix_four, .round = round_floats, .split = split,          \
	 .flip = flip, .divides = divides, .divide32 = divide32, .divide16 = divide16,          \
	 .divideb16 = divideb16, .look8 = look8}

extern const cvf_resize_kernels cvf_resize_c;
#ifdef __x86_64__
extern const cvf_resize_kernels cvf_resize_avx2;
#endif
#ifdef __aarch64__
extern const cvf_resize_kernels cvf_resize_neon;
#endif

#endif
