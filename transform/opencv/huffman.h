#ifndef CVF_HUFFMAN_H
#define CVF_HUFFMAN_H

#include <stddef.h>
#include <stdint.h>

#include "internals.h"

// A decoder of baseline JPEG's Huffman codes in place of libjpeg's own, which takes
// more than half of the time of a picture. This one takes less than two thirds of that,
// because it looks up two coefficients at once, with their values.
//
// It makes the same coefficients of data that is right to the last bit: every code
// exists, no bit is missing, the restart markers are in order, and at most the bits
// that fill a byte are left before a marker. With all other data it ends the session,
// and libjpeg has to decide.

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
	cvf_huffman_skip skip[1 << CVF_LOOK]; // set for cvf_huffman_luma alone
	int32_t last[17];   // the last code of each length, -1 where there is none
	int32_t offset[17]; // from a code to its place among the symbols
	uint8_t symbols[256];
	int ac;
} cvf_huffman_table;

typedef struct {
	uint64_t bits;    // not used yet, from the highest on
	int count;        // how many there are
	int made_up;      // how many of them are zeros made up after the marker
	unsigned restart; // MCUs until the next restart marker
	int marker;       // the number of that marker, 0 to 7
	unsigned dc[MAX_COMPS_IN_SCAN];
	const cvf_huffman_table *dc_table[MAX_COMPS_IN_SCAN], *ac_table[MAX_COMPS_IN_SCAN];
	cvf_huffman_table tables[2][NUM_HUFF_TBLS];
} cvf_huffman;

// cvf_huffman_suits tells whether a JPEG whose header has been read is of the kind that
// this decoder knows: one scan of baseline Huffman codes.
int cvf_huffman_suits(const struct jpeg_decompress_struct *info);

// cvf_huffman_start has libjpeg use h for the rest of the picture. It is called between
// jpeg_start_decompress and the first row, with all of the data in libjpeg's hands,
// and takes info->client_data.
void cvf_huffman_start(j_decompress_ptr info, cvf_huffman *h, const cvf_internals *internals);

// cvf_huffman_luma reads the whole picture in place of libjpeg, after cvf_huffman_start and
// instead of the rows. It writes the mean of each block of the first component to dst, as
// libjpeg's decode at 1/8 would, and skips all else. The first component has to have the
// most samples. The picture has w blocks in a row, and h rows of blocks.
void cvf_huffman_luma(j_decompress_ptr info, uint8_t *dst, int w, int h);

// cvf_huffman_end checks, after the last row, that the scan's data has ended, too.
void cvf_huffman_end(j_decompress_ptr info);

#endif
