#ifndef CVF_DECODE_KERNELS_H
#define CVF_DECODE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

// The bytes that a kernel may read and write behind its rows.
#define CVF_DECODE_BEHIND 64

// Where a block's coefficient of row v and column u is. In each row, the even columns come
// before the odd ones, because the transform adds these up separately.
#define CVF_COEFFICIENT(v, u) (8 * (v) + (u) / 2 + ((u)&1) * 4)

// The largest size of what a block becomes.
#define CVF_DCT_MAX 14

// The weights of an inverse DCT to size x size samples: sample y of a column or a row is the
// sum of coefficients k times weights[size][y][CVF_COEFFICIENT(0, k)], and so is sample
// size-1-y with the odd coefficients subtracted. They are those of libjpeg's jidctint.c and
// jidctred.c, whose steps all are sums of such products: 1 is 1 << 13; at size 4 1 << 14,
// and at size 2 1 << 15, of which the table has half.
extern const int16_t cvf_dct_weights[CVF_DCT_MAX + 1][CVF_DCT_MAX / 2][8];

// What the inverse DCT of a component's blocks needs to know.
typedef struct {
	int size;                                 // of a block after it: 1 to 8, 10, 12 or 14
	_Alignas(32) int16_t factors[64];         // the quantization
	_Alignas(32) int16_t limits[64];          // the largest coefficients; 0 up to these
	_Alignas(32) uint8_t prepared[192];       // what a kernel makes of the size
} cvf_dct;

// The rows of a block that have to be made; one is.
typedef struct {
	unsigned mask;
	int count;
	uint8_t list[CVF_DCT_MAX + 4]; // the last one is there four times more
} cvf_dct_rows;

// cvf_dct_rows_of returns the rows whose bits are set in the mask.
cvf_dct_rows cvf_dct_rows_of(int size, unsigned mask);

// Beyond these, versions of libjpeg differ in where numbers wrap around or are clipped: a
// coefficient times its quantization, a number between the two passes, and a sample before
// it is clipped.
enum { CVF_DCT_COEFFICIENT = 4088, CVF_DCT_BETWEEN = 16383, CVF_DCT_SAMPLE = 511 };

// cvf_idct makes size * size samples of a block. last is the index of its last coefficient that
// may not be 0, in the order of the data; where that is 0, only the first one is in memory.
// Other rows may be made, too, and up to eight bytes may be written of each. It returns 0; or 1
// where a number was out of range, and the samples are of no use.
typedef int cvf_idct(const cvf_dct *d, const cvf_dct_rows *rows, const int16_t *block, int last, uint8_t *dst,
                     ptrdiff_t stride);

// The functions of decoding that have vector code. Each makes the same of the same input, on
// every processor.
typedef struct {
	// prepare sets what idct needs besides the size, the factors and the limits.
	void (*prepare)(cvf_dct *d);
	// idct returns the function for a size and rows. There are many, so that each has few ways
	// that the processor has to foretell.
	cvf_idct *(*idct)(int size, const cvf_dct_rows *rows);

	// These make two samples of each of n. They read the samples before the first one and
	// behind the last one, too. Of the two rows, a is the nearer one.
	void (*h2v1)(const uint8_t *a, int n, uint8_t *dst);
	void (*h2v2)(const uint8_t *a, const uint8_t *b, int n, uint8_t *dst);
	// h1v2 makes one sample of each. The bias is 1 where b is above a, and 2 below.
	void (*h1v2)(const uint8_t *a, const uint8_t *b, int bias, int n, uint8_t *dst);

	// h2v2_third makes n of the samples of h2v2: that with the index first, 0 or 1, and every
	// third one behind it.
	void (*h2v2_third)(const uint8_t *a, const uint8_t *b, int first, int n, uint8_t *dst);
	// thin keeps n samples that are step apart.
	void (*thin)(const uint8_t *src, int step, int n, uint8_t *dst);

	// These make n pixels of four bytes: blue, green, red and one that means nothing.
	void (*ycc)(const uint8_t *y, const uint8_t *cb, const uint8_t *cr, int n, uint8_t *dst);
	void (*rgb)(const uint8_t *r, const uint8_t *g, const uint8_t *b, int n, uint8_t *dst);
} cvf_decode_kernels;

// CVF_DECODE_KERNELS is a table of the functions of a file, which have the names of the fields.
#define CVF_DECODE_KERNELS                                                                       \
	{.prepare = prepare, .idct = idct, .h2v1 = h2v1, .h2v2 = h2v2, .h1v2 = h1v2,                 \
	 .h2v2_third = h2v2_third, .thin = thin, .ycc = ycc, .rgb = rgb}

// Each table is only there for the processors that it is for. That of plain C always is.
extern const cvf_decode_kernels cvf_decode_c, cvf_decode_avx2, cvf_decode_neon;

#endif
