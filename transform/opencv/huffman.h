#ifndef CVF_HUFFMAN_H
#define CVF_HUFFMAN_H

#include <stddef.h>
#include <stdint.h>

#include "decode_kernels.h"
#include "session.h"

// A decoder of baseline JPEG's Huffman codes, which take more than half of the time of a
// picture. It takes less than two thirds of libjpeg's time, because it looks up two
// coefficients at once, with their values.
//
// It makes the same coefficients of data that is right to the last bit: every code
// exists, no bit is missing, the restart markers are in order, at most the bits that fill
// a byte are left before a marker, and the picture ends with its only scan. With all other
// data it ends the session, and libjpeg has to decide.

#define CVF_LOOK 11 // bits that are looked up at once

// The answer to the next bits: one coefficient or two, with their values. Where a code
// fits into the bits but its value does not, only first and value are set, to the
// code's length and its symbol. Where the code does not fit either, all is 0. From the
// lowest bits on:
//
//	 8  length of the codes and values; in the lowest bits to be shifted by as it is
//	 8  first, the length of the first code and value alone
//	 8  step from the coefficient before to this one
//	 8  step from this coefficient to the second
//	16  value
//	16  value of the second; the same value again where there is only one
typedef uint64_t cvf_huffman_entry;

// The answer to the next bits where the coefficients themselves are not needed: how many
// bits the codes and values that fit take, and the steps over all their coefficients. From
// the lowest bits on:
//
//	 8  length of the codes and values; 0 where not even one fits
//	 8  sum of the steps, with that of an end of block; 63 where not even one fits
typedef uint16_t cvf_huffman_skip;

typedef struct {
	cvf_huffman_entry look[1 << CVF_LOOK];
	cvf_huffman_skip skip[1 << CVF_LOOK]; // made when it is needed
	int32_t last[17];   // the last code of each length, -1 where there is none
	int32_t offset[17]; // from a code to its place among the symbols
	uint8_t symbols[256];
	int ac, skips; // whether it is for AC, and whether skip is made
} cvf_huffman_table;

// The answer to the bits at the beginning of a block: its DC coefficient, and whether the
// block ends behind it, as most do of a smooth picture. From the lowest bits on:
//
//	 8  length of the codes and the value; 0 where they do not fit
//	 8  1 where the end of the block is among them
//	16  value
typedef uint32_t cvf_huffman_first[1 << CVF_LOOK];

typedef struct {
	cvf_session *session;
	const uint8_t *at, *end; // the data that was not read yet
	uint64_t bits;           // not used yet, from the highest on
	int count;               // how many there are
	int made_up;             // how many of them are zeros made up after the marker
	int met;                 // the marker that was met behind the bits, or 0
	unsigned interval, left; // MCUs between restart markers, or 0, and until the next one
	int marker;              // the number of that marker, 0 to 7
	int blocks;              // in an MCU
	int dc[MAX_COMPS_IN_SCAN];
	cvf_huffman_table *dc_table[MAX_COMPS_IN_SCAN], *ac_table[MAX_COMPS_IN_SCAN];
	cvf_huffman_first *first[MAX_COMPS_IN_SCAN]; // of the two
	cvf_huffman_table tables[2][NUM_HUFF_TBLS];
	cvf_huffman_first firsts[MAX_COMPS_IN_SCAN];
} cvf_huffman;

// What is to be done with one of the blocks of each MCU. Its samples are made as soon as it is
// read: the processor does so while it waits for the next codes.
typedef struct {
	int component;   // its index in libjpeg's comp_info
	int limit;       // the index of the last coefficient that has to be kept; -1 for none
	ptrdiff_t apart; // from one MCU to the next, in bytes of dst
	int16_t *means;  // for the first coefficients, which are 8 times the means; or NULL
	int means_apart; // from one MCU to the next there
	cvf_idct *idct;
	const cvf_dct *dct;
	const cvf_dct_rows *rows;
	uint8_t *dst; // for the samples of the first MCU's
	ptrdiff_t stride;
} cvf_huffman_place;

// cvf_huffman_suits tells whether a JPEG whose header has been read is of the kind that
// this decoder knows: one scan of baseline Huffman codes, with all tables of its components.
int cvf_huffman_suits(const struct jpeg_decompress_struct *info);

// cvf_huffman_start begins with the data behind the header that the session has read, all of
// which has to be in libjpeg's hands.
void cvf_huffman_start(cvf_huffman *h, cvf_session *s, int blocks);

// cvf_huffman_read reads the next n MCUs. There is a place for each block of an MCU; unless they
// are kept, only the places' components and means matter.
void cvf_huffman_read(cvf_huffman *h, const cvf_huffman_place *places, int n, int kept);

// cvf_huffman_end checks, after the last MCU, that the data ends there.
void cvf_huffman_end(cvf_huffman *h);

#endif
