#define JPEG_INTERNALS // for struct jpeg_inverse_dct: see internals.h
#include "idct.h"

#include <string.h>

#if CVF_INTERNALS_KNOWN && defined(__x86_64__) && defined(WITH_SIMD)
#include <immintrin.h>

// The reduced inverse DCT of libjpeg's jidctred.c: the one of C. Loeffler, A. Ligtenberg
// and G. Moschytz (Practical fast 1-D DCT algorithms with 11 multiplications, ICASSP
// 1989), with only four of the eight results, for which row and column 4 do not matter.
// Where a number does not fit into 16 bits, it wraps around or is clipped in the same
// places as in libjpeg-turbo's jidctred-sse2.asm.

enum {
	CONST_BITS = 13, // of the fractions of constants
	PASS1_BITS = 2,  // of the fractions that the columns' sums keep for the rows
	DOWN1 = CONST_BITS - PASS1_BITS + 1,
	DOWN2 = CONST_BITS + PASS1_BITS + 3 + 1,
};

#define FIX_0_211164243 1730
#define FIX_0_509795579 4176
#define FIX_0_601344887 4926
#define FIX_0_765366865 6270
#define FIX_0_899976223 7373
#define FIX_1_061594337 8697
#define FIX_1_451774981 11893
#define FIX_1_847759065 15137
#define FIX_2_172734803 17799
#define FIX_2_562915447 20995
#define ONE (1 << (CONST_BITS + 1))

#define TARGET __attribute__((target("avx2")))

// Two factors of 16 bits, side by side: a for the lower one of a pair of numbers, b for
// the higher one.
#define PAIR(a, b) ((int)((unsigned)(b) << 16 | (uint16_t)(a)))

// A vector of the same pairs; or of one kind in its lower half, another in the upper.
TARGET static inline __m256i all(int pair) { return _mm256_set1_epi32(pair); }
TARGET static inline __m256i halves(int low, int high) {
	return _mm256_setr_epi32(low, low, low, low, high, high, high, high);
}

// Row y of a block and the row below it.
TARGET static inline __m256i load(const int16_t *block, int y) {
	return _mm256_loadu_si256((const __m256i *)(block + 8 * y));
}

// Two rows of coefficients times their quantization: columns 0 to 3 of both rows in the
// lower half, columns 4 to 7 in the upper.
TARGET static inline __m256i dequantize(__m256i coefficients, const int16_t *table, int y) {
	return _mm256_permute4x64_epi64(_mm256_mullo_epi16(coefficients, load(table, y)), 0xd8);
}

// The sum of a's halves in the lower half, that of b's in the upper.
TARGET static inline __m256i add_halves(__m256i a, __m256i b) {
	return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
}

// Four rows of numbers, two in each vector, one after the other in each half.
typedef struct {
	__m256i first, second;
} rows4;

// The transform along the columns, each half of a vector having four of them.
TARGET static inline rows4 columns(const int16_t *block, const int16_t *table) {
	__m256i c01 = load(block, 0), c23 = load(block, 2), c45 = load(block, 4), c67 = load(block, 6);
	__m256i r01 = dequantize(c01, table, 0), r23 = dequantize(c23, table, 2);
	__m256i r45 = dequantize(c45, table, 4), r67 = dequantize(c67, table, 6);
	// All rows but 0 and 4: in most blocks they are zero.
	__m256i others = _mm256_or_si256(_mm256_or_si256(c23, c67),
	                                 _mm256_and_si256(_mm256_or_si256(c01, c45), _mm256_setr_epi64x(0, 0, -1, -1)));
	if (_mm256_testz_si256(others, others)) {
		__m256i r0 = _mm256_slli_epi16(r01, PASS1_BITS);
		r0 = _mm256_unpacklo_epi64(r0, r0);
		return (rows4){r0, r0};
	}
	__m256i r13 = _mm256_unpackhi_epi16(r01, r23), r57 = _mm256_unpackhi_epi16(r45, r67);
	__m256i r26 = _mm256_unpacklo_epi16(r23, r67);
	__m256i dc = _mm256_srai_epi32(_mm256_unpacklo_epi16(_mm256_setzero_si256(), r01), 16 - CONST_BITS - 1);
	__m256i even = _mm256_madd_epi16(r26, all(PAIR(FIX_1_847759065, -FIX_0_765366865)));
	dc = _mm256_add_epi32(dc, all(1 << (DOWN1 - 1)));
	__m256i e0 = _mm256_add_epi32(dc, even), e1 = _mm256_sub_epi32(dc, even);
	__m256i o0 = _mm256_add_epi32(_mm256_madd_epi16(r13, all(PAIR(FIX_2_562915447, FIX_0_899976223))),
	                              _mm256_madd_epi16(r57, all(PAIR(-FIX_0_601344887, -FIX_0_509795579))));
	__m256i o1 = _mm256_add_epi32(_mm256_madd_epi16(r13, all(PAIR(FIX_1_061594337, -FIX_2_172734803))),
	                              _mm256_madd_epi16(r57, all(PAIR(FIX_1_451774981, -FIX_0_211164243))));
	return (rows4){
	    _mm256_packs_epi32(_mm256_srai_epi32(_mm256_add_epi32(e0, o0), DOWN1),
	                       _mm256_srai_epi32(_mm256_add_epi32(e1, o1), DOWN1)),
	    _mm256_packs_epi32(_mm256_srai_epi32(_mm256_sub_epi32(e1, o1), DOWN1),
	                       _mm256_srai_epi32(_mm256_sub_epi32(e0, o0), DOWN1)),
	};
}

// The transform along the rows, of all four at once, to 16 pixels. Each result is a sum
// of what columns 0 to 3, in the lower halves, and columns 4 to 7, in the upper halves,
// add to it.
TARGET static inline __m128i across(rows4 r) {
	const __m256i part = _mm256_broadcastsi128_si256(
	    _mm_setr_epi8(2, 3, 6, 7, 10, 11, 14, 15, 0, 1, 4, 5, 8, 9, 12, 13));
	__m256i first = _mm256_shuffle_epi8(r.first, part), second = _mm256_shuffle_epi8(r.second, part);
	__m256i odd = _mm256_unpacklo_epi64(first, second), even = _mm256_unpackhi_epi64(first, second);
	__m256i e0 = _mm256_madd_epi16(even, halves(PAIR(ONE, FIX_1_847759065), PAIR(0, -FIX_0_765366865)));
	__m256i e1 = _mm256_madd_epi16(even, halves(PAIR(ONE, -FIX_1_847759065), PAIR(0, FIX_0_765366865)));
	__m256i o0 = _mm256_madd_epi16(odd, halves(PAIR(FIX_2_562915447, FIX_0_899976223),
	                                           PAIR(-FIX_0_601344887, -FIX_0_509795579)));
	__m256i o1 = _mm256_madd_epi16(odd, halves(PAIR(FIX_1_061594337, -FIX_2_172734803),
	                                           PAIR(FIX_1_451774981, -FIX_0_211164243)));
	const __m256i half = all(1 << (DOWN2 - 1));
	__m256i x01 = add_halves(_mm256_add_epi32(e0, o0), _mm256_add_epi32(e1, o1));
	__m256i x23 = add_halves(_mm256_sub_epi32(e1, o1), _mm256_sub_epi32(e0, o0));
	__m256i x = _mm256_packs_epi32(_mm256_srai_epi32(_mm256_add_epi32(x01, half), DOWN2),
	                               _mm256_srai_epi32(_mm256_add_epi32(x23, half), DOWN2));
	x = _mm256_packs_epi16(x, x); // in the lower half columns 0 and 2 of the rows, in the upper 1 and 3
	__m128i pixels = _mm_unpacklo_epi8(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
	pixels = _mm_shuffle_epi8(pixels, _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
	return _mm_add_epi8(pixels, _mm_set1_epi8((char)CENTERJSAMPLE));
}

TARGET static void idct_4x4(j_decompress_ptr info, jpeg_component_info *component, JCOEFPTR block,
                            JSAMPARRAY output, JDIMENSION column) {
	(void)info;
	__m128i pixels = across(columns(block, component->dct_table));
	for (int y = 0; y < 4; y++, pixels = _mm_srli_si128(pixels, 4)) {
		int row = _mm_cvtsi128_si32(pixels);
		memcpy(output[y] + column, &row, sizeof row);
	}
}

void cvf_idct_start(j_decompress_ptr info, const cvf_internals *internals) {
	if (!internals->idct_4x4) return;
	inverse_DCT_method_ptr *method = info->idct->inverse_DCT;
	for (int c = 0; c < info->num_components; c++)
		if ((void (*)(void))method[c] == internals->idct_4x4) method[c] = idct_4x4;
}

int cvf_idct_runs(void) { return __builtin_cpu_supports("avx2") != 0; }

#else

void cvf_idct_start(j_decompress_ptr info, const cvf_internals *internals) { (void)info, (void)internals; }

int cvf_idct_runs(void) { return 0; }

#endif
