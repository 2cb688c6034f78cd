#ifndef CVF_HUFFMAN_H
#define CVF_HUFFMAN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jpeglib.h>

// A decoder of baseline JPEG's Huffman codes in the place of libjpeg's own, which
// takes more than half of the time of a picture; this one takes less than two thirds of
// that, for it looks up two coefficients at once, with their values. It makes the same
// coefficients, and the same errors of libjpeg's warnings, with three differences, all
// of them in bad data:
//
//   - A code that there is not is always an error. libjpeg takes it for a zero, but
//     near the end of the data.
//   - Bytes too many before a marker are passed over where they have been read ahead,
//     which are others than with libjpeg: a few. No pixel comes of them.
//   - Bytes 255, 255 and 0 are one of 255. libjpeg takes them for that when it decodes
//     their blocks a second time, but leaves in these what the first time came to.

#define CVF_LOOK 11 // bits that are looked up at once

// An answer to the next bits: one coefficient or two, with their values. Of a code
// that fits in without its value there are just the code's length and symbol, as
// first and value 0; of a longer one all is 0. From the lowest bits on:
//
//	 8  length of the codes and the values; lowest, so that one shifts by it as it is
//	 8  first, the length of the first one's alone
//	 8  step to the coefficient, from the one before
//	 8  step to the second one
//	16  value
//	16  value of the second one; where there is one only, its value again
typedef uint64_t cvf_huffman_entry;

typedef struct {
	cvf_huffman_entry look[1 << CVF_LOOK];
	int32_t last[17];   // the last code of each length, -1 where there is none
	int32_t offset[17]; // from a code to its place among the symbols
	uint8_t symbols[256];
	int ac;
} cvf_huffman_table;

typedef struct {
	uint64_t bits; // those not used yet, from the top
	int count;     // of them
	int made_up;   // of them, behind the end of the data
	unsigned restart; // MCUs to the next restart marker
	unsigned dc[MAX_COMPS_IN_SCAN];
	const cvf_huffman_table *dc_table[MAX_COMPS_IN_SCAN], *ac_table[MAX_COMPS_IN_SCAN];
	cvf_huffman_table tables[2][NUM_HUFF_TBLS];
} cvf_huffman;

// cvf_huffman_start has libjpeg use h for the rest of the picture, if it has one
// scan of Huffman codes. To be called after jpeg_start_decompress, for data from
// jpeg_mem_src; takes client_data.
void cvf_huffman_start(j_decompress_ptr info, cvf_huffman *h);

#endif
